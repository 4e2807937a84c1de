"""`Runs`: the command line as a user starts it, with a repository of its own and a folder for its temporary files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from limpet import registry
from limpet.repository.repository import Repository
from limpet.testing.backups import cheap_kdf

PASSWORD = "a repository of tests"
TIMEOUT_S = 600
"""Only so that a test that hangs ends: machines may be busy."""
_PROGRAM = "import sys; from limpet.cli.main import main; sys.exit(main())"


class Runs:
    """Every run is a process of its own. `variables` are added to its environment."""

    def __init__(self, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        backend = registry.open_backend(str(self.repository))
        Repository.create(backend, PASSWORD, kdf=cheap_kdf())
        backend.close()
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))},
            "LIMPET_REPOSITORY": str(self.repository),
            "LIMPET_PASSWORD": PASSWORD,
            "LIMPET_CACHE_DIR": str(folder / "cache"),
            "TMPDIR": str(self.temporary),
            **(variables or {}),
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """The running process, with pipes."""
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *map(str, arguments)],
            env=self.variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, exit_code: int = 0) -> str:
        """All that it said; AssertionError if it ended otherwise."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == exit_code, f"limpet {arguments} ended with {process.returncode}:\n{output}{errors}"
        return output + errors

    def backup(self, *arguments: str | Path) -> Mapping[str, int]:
        """The figures of the summary of a backup."""
        for line in self.run("backup", "--json", *arguments).splitlines():
            document = json.loads(line) if line.startswith("{") else {}
            if document.get("message_type") == "summary":
                return dict(document)
        raise AssertionError("there is no summary")

    def refused(self, *arguments: str | Path) -> str:
        """The one line that a backup ends with that makes no snapshot; AssertionError if it made one, or left files."""
        before = self.snapshot_count()
        said = self.run("backup", *arguments, exit_code=1)
        assert self.snapshot_count() == before
        assert self.leftovers() == []
        fatal = [line for line in said.splitlines() if line.startswith("Fatal:")]
        assert len(fatal) == 1, said
        assert "Traceback" not in said, said
        return fatal[0]

    def stopped(self, *arguments: str | Path, at: Callable[[], bool], number: int = signal.SIGTERM) -> str:
        """What a backup said that was sent a signal as soon as `at` held; it makes no snapshot and leaves no file."""
        process = self.start("backup", *arguments)
        wait_until(lambda: at() or process.poll() is not None)
        assert process.poll() is None, "".join(process.communicate())
        process.send_signal(number)
        said = "".join(process.communicate(timeout=TIMEOUT_S))
        assert process.returncode not in {0, 3}, said
        assert self.snapshot_count() == 0
        assert self.leftovers() == []
        return said

    def failure(self, process: subprocess.Popen[str], command: str) -> str:
        """The one line of a started backup whose dump failed; AssertionError if it saved or left anything.

        `command` is what the line names: the address and the program.
        """
        said = "".join(process.communicate(timeout=TIMEOUT_S))
        assert process.returncode == 1, said
        assert (self.snapshot_count(), self.leftovers()) == (0, [])
        [line] = [line for line in said.splitlines() if line.strip()]
        assert line.startswith(f"Fatal: {command} failed: "), line
        return line

    def restored(self, path: str, snapshot: str = "latest") -> bytes:
        """The content of a file of a snapshot."""
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, "dump", snapshot, path],
            env=self.variables,
            capture_output=True,
            check=True,
        )
        return done.stdout

    def snapshot_count(self) -> int:
        """How many snapshots there are."""
        return len(list((self.repository / "snapshots").iterdir()))

    def leftovers(self) -> list[str]:
        """Temporary files that runs left."""
        return [str(path.relative_to(self.temporary)) for path in self.temporary.rglob("*")]


def processes() -> Iterator[tuple[int, bytes]]:
    """The id of every process of this machine, and its command line with a zero byte after each word."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_bytes()
        except OSError:
            continue  # it ended


def running(program: str, word: str | Path) -> list[int]:
    """The ids of processes of a program (how a word of the command line ends) that were given this word."""
    return [
        pid
        for pid, command_line in processes()
        if os.fsencode(word) in (words := command_line.split(b"\0"))
        and any(one.endswith(program.encode()) for one in words)
    ]


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """All command lines of this machine's processes that were seen while it lasts."""
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.update(command_line for _pid, command_line in processes())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def wait_until(condition: Callable[[], bool], limit_s: float = TIMEOUT_S) -> None:
    """Return once it holds; AssertionError if it never does."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
