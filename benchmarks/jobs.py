"""What is compared: each job as a command of either tool, and how its repository is made ready."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import limpet
from limpet.contracts.backend import FileKind
from limpet.format.snapshot import encode_snapshot
from limpet.format.timestamps import NS_PER_S, Time

PASSWORD = "benchmark"
DATA_SETS = ("big", "mixed", "small", "image")
MANY_SNAPSHOTS = 1000
HOUR_NS = 3600 * NS_PER_S
HALF = "[a-m]*.*"
"""Leaves out about half of the files of the small set, and few folders."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the two programs, with a folder of its own for its repositories."""

    binary: str
    folder: Path

    def repository(self, name: str) -> Path:
        """Where the repository of this name is."""
        return self.folder / name

    def command(self, repository: str, *arguments: str | Path) -> list[str]:
        """The command line for one of its repositories."""
        location = str(self.repository(repository))
        return [self.binary, "-r", location, "-q", "--no-cache", *map(str, arguments)]

    def run(self, repository: str, *arguments: str | Path) -> str:
        """What the command prints."""
        command = self.command(repository, *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def make(self, name: str) -> None:
        """An empty repository in place of whatever there was."""
        shutil.rmtree(self.repository(name), ignore_errors=True)
        self.run(name, "init")


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to compare: the command is built, and run, after `prepare`; both before each round."""

    name: str
    target: float
    """The wall ratio to reach."""
    command: Callable[[Tool], list[str]]
    prepare: Callable[[Tool], None]


def jobs(data: dict[str, Path]) -> Iterator[Job]:
    """All jobs on the data sets given."""
    targets = {"big": 0.50, "mixed": 0.55, "small": 0.65, "image": 0.70}
    for name, folder in data.items():
        yield Job(f"first backup, {name}", targets[name], _backup("new", folder), lambda tool: tool.make("new"))
    if "small" in data:
        yield Job("backup, small unchanged", 0.60, _backup("small", data["small"]), _backed_up("small", data["small"]))
    for name, target in (("big", 0.75), ("small", 1.0)):
        if name in data:
            yield Job(f"restore, {name}", target, _restore(name), _restorable(name, data[name]))
    for name in ("big", "small"):
        if name in data:
            command = _fixed(name, "check", "--read-data")
            yield Job(f"check --read-data, {name}", 1.0, command, _backed_up(name, data[name]))
    if "small" in data:
        yield from _commands(data["small"])


def _commands(folder: Path) -> Iterator[Job]:
    """The other commands, on two snapshots of the small set: all of it, and half of it."""
    two = _two_snapshots(folder)
    yield Job("ls, small", 1.0, _fixed("two", "ls", "latest"), two)
    yield Job("find, small, 2 snapshots", 1.0, _fixed("two", "find", "*77*"), two)
    yield Job("diff, small", 1.0, lambda tool: tool.command("two", "diff", *_snapshot_ids(tool, "two")), two)
    yield Job("stats, small", 1.0, _fixed("two", "stats", "latest"), two)
    yield Job("stats --mode raw-data, small", 1.0, _fixed("two", "stats", "--mode", "raw-data"), two)
    yield Job("dump, small as tar", 1.0, _fixed("two", "dump", "-a", "tar", "latest", "/"), two)
    yield Job("copy, small", 1.0, _copy, _copyable(two))
    yield Job("forget --prune, small", 1.0, _fixed("less", "forget", "--keep-last", "1", "--prune"), _prunable(two))
    yield Job(f"snapshots, {MANY_SNAPSHOTS}", 1.0, _fixed("many", "snapshots"), _many_snapshots)


def _fixed(repository: str, *arguments: str) -> Callable[[Tool], list[str]]:
    return lambda tool: tool.command(repository, *arguments)


def _backup(repository: str, folder: Path) -> Callable[[Tool], list[str]]:
    return lambda tool: tool.command(repository, "backup", folder)


def _restore(repository: str) -> Callable[[Tool], list[str]]:
    return lambda tool: tool.command(repository, "restore", "latest", "--target", tool.folder / "restored")


def _copy(tool: Tool) -> list[str]:
    return tool.command("copied", "copy", "--from-repo", tool.repository("two"))


def _backed_up(name: str, folder: Path) -> Callable[[Tool], None]:
    """The repository is made in the first round and used in all."""

    def prepare(tool: Tool) -> None:
        if not tool.repository(name).exists():
            tool.make(name)
            tool.run(name, "backup", folder)

    return prepare


def _restorable(name: str, folder: Path) -> Callable[[Tool], None]:
    backed_up = _backed_up(name, folder)

    def prepare(tool: Tool) -> None:
        backed_up(tool)
        restored = tool.folder / "restored"
        if restored.exists():
            # Not deleted yet: for minutes ext4 passes over the inodes just freed, one by one, for every new file.
            restored.rename(tool.folder / f"restored-{time.monotonic_ns()}")

    return prepare


def _two_snapshots(folder: Path) -> Callable[[Tool], None]:
    def prepare(tool: Tool) -> None:
        if not tool.repository("two").exists():
            tool.make("two")
            tool.run("two", "backup", folder)
            tool.run("two", "backup", "--exclude", HALF, folder)

    return prepare


def _snapshot_ids(tool: Tool, repository: str) -> Sequence[str]:
    return [snapshot["id"] for snapshot in json.loads(tool.run(repository, "snapshots", "--json"))]


def _copyable(source: Callable[[Tool], None]) -> Callable[[Tool], None]:
    def prepare(tool: Tool) -> None:
        source(tool)
        tool.make("copied")

    return prepare


def _prunable(source: Callable[[Tool], None]) -> Callable[[Tool], None]:
    def prepare(tool: Tool) -> None:
        source(tool)
        shutil.rmtree(tool.repository("less"), ignore_errors=True)
        shutil.copytree(tool.repository("two"), tool.repository("less"))

    return prepare


def _many_snapshots(tool: Tool) -> None:
    """One small backup, and its snapshot again and again at other times: by our library, for both tools."""
    if tool.repository("many").exists():
        return
    tool.make("many")
    tool.run("many", "backup", Path(__file__).parent)
    with limpet.open_repository(str(tool.repository("many")), PASSWORD) as repository:
        (stored,) = limpet.snapshots(repository)
        for hour in range(1, MANY_SNAPSHOTS):
            later = replace(stored.snapshot, time=Time(stored.snapshot.time.ns + hour * HOUR_NS))
            repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(later))
