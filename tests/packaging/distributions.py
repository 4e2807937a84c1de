"""The workspace's distributions: finding and building them, and empty environments to install them into."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Project:
    """One distribution: its name and where its pyproject.toml is, relative to the workspace."""

    name: str
    folder: Path

    @property
    def file_name(self) -> str:
        """The name as the names of its files spell it."""
        return self.name.replace("-", "_")


def find_projects() -> list[Project]:
    """Every distribution of the workspace."""
    files = [ROOT / "pyproject.toml", ROOT / "core/pyproject.toml", *sorted(ROOT.glob("plugins/*/*/pyproject.toml"))]
    return [
        Project(tomllib.loads(file.read_text())["project"]["name"], file.parent.relative_to(ROOT)) for file in files
    ]


PROJECTS = find_projects()


def run(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str] = {}, umask: int = 0o022) -> str:
    """What the command prints; AssertionError with its output if it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_", "PYTHON"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        umask=umask,
    )
    words = " ".join(str(word) for word in command)
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Environment:
    """A virtual environment that holds nothing, not even pip."""

    def __init__(self, folder: Path, find_links: Sequence[Path]) -> None:
        venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
        self.bin = folder / "bin"
        self.work = folder / "work"
        self.work.mkdir()
        self._options = ["-q", "--no-compile", "--no-index", *(f"--find-links={links}" for links in find_links)]

    def install(self, *wanted: str | Path, **environment: str) -> None:
        """Install with the pip of this test run, from the folders of files alone, build requirements too."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", *self._options]
        run([*pip, *map(str, wanted)], cwd=self.work, environment=environment)

    def run(self, program: str, *arguments: str | Path) -> str:
        """What one of the environment's programs prints."""
        return run(
            [self.bin / program, *arguments],
            cwd=self.work,
            environment={"HOME": str(self.work), "LIMPET_PASSWORD": "secret"},
        )

    def installed(self) -> set[str]:
        """The names of the distributions in it."""
        code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
        return set(self.run("python", "-c", code).split())


def made_once(shared: Path, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of that name, filled by whichever process of a parallel test run comes first."""
    folder, partial = shared / name, shared / f"{name}.partial"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(folder)
    return folder


def copy_workspace(target: Path) -> None:
    """Copy the files that belong to the project, without what a build or a test left behind."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)


def build_all(kind: str, workspace: Path, out: Path, *, umask: int = 0o022) -> None:
    """Build `--wheel` or `--sdist` of every distribution of the workspace into the folder."""
    for project in PROJECTS:
        build(kind, workspace / project.folder, out, umask=umask)


def build(kind: str, project: Path, out: Path, *, umask: int = 0o022) -> None:
    """Build `--wheel` or `--sdist` of the project into the folder, with the build back ends of this test run."""
    run([sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", out, project], cwd=out, umask=umask)


def only(folder: Path, pattern: str) -> Path:
    """The one file of that pattern."""
    (found,) = folder.glob(pattern)
    return found
