"""A user's place for tests of hooks: a repository, a folder to save, and the command line in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LIMIT_S = 60.0
PASSWORD = "the repository's own password"
MAIN = "import sys; from limpet.cli.main import run; run()"


class Desk:
    """`folder/work` is what is backed up; the repository is made with the first `init`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        (self.work / "letter").write_text("dear reader\n")
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_", "XDG_"))
        }
        self.environment = {
            **kept,
            "HOME": str(folder),
            "LIMPET_REPOSITORY": str(self.repository),
            "LIMPET_PASSWORD": PASSWORD,
            "LIMPET_CACHE_DIR": str(folder / "cache"),
        }

    def limpet(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """The command, run to its end."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=LIMIT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def python(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A program of one's own in the same place, run to its end."""
        process = self.start(*arguments, program=program)
        out, err = process.communicate(timeout=LIMIT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *arguments: str | Path, program: str = MAIN, **environment: str) -> subprocess.Popen[str]:
        """The command, started."""
        return subprocess.Popen(
            [sys.executable, "-c", program, *(str(argument) for argument in arguments)],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def snapshots(self) -> int:
        """How many snapshots there are."""
        return len(list((self.repository / "snapshots").iterdir()))


def made_desk(folder: Path) -> Desk:
    """A desk with a repository in it."""
    desk = Desk(folder)
    done = desk.limpet("init")
    assert done.returncode == 0, done.stderr
    return desk
