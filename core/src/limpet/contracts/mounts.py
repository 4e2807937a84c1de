"""What is mounted where, as Linux tells: for hooks that freeze file systems. Nothing on other systems."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of `proc(5)`'s mountinfo."""

    folder: str
    """Where it is mounted."""
    root: str
    """Which folder of the file system that is, `/` for all of it."""
    kind: str
    """The file system's type: `ext4`."""
    source: str
    """What is mounted: a device, or a name that the file system gives itself."""
    device: tuple[int, int]
    """Major and minor number as the kernel tells; made up for file systems that have no device of their own."""

    def inside(self, path: str) -> str:
        """Where a path below `folder` is in the file system, from the file system's own root."""
        return os.path.normpath(os.path.join(self.root, os.path.relpath(path, self.folder)))


def mounts(table: str = TABLE) -> Sequence[Mount]:
    """All mounts that can be reached, those hidden by others left out; none where the system does not tell."""
    try:
        with open(table, "rb") as file:
            lines = [_Line.parse(line) for line in file.read().splitlines()]
    except OSError:
        return []
    by_number = {line.number: line for line in lines}
    on_top: dict[int, list[_Line]] = {}
    for line in lines:
        on_top.setdefault(line.parent, []).append(line)
    return [line.mount for line in lines if not _is_hidden(line, by_number, on_top)]


def mount_of(path: str, table: Sequence[Mount]) -> Mount | None:
    """The mount that an absolute path without symlinks is on; None if the table does not tell."""
    above = [mount for mount in table if is_below(path, mount.folder)]
    return max(above, key=lambda mount: len(mount.folder), default=None)


def is_below(path: str, folder: str) -> bool:
    """Whether an absolute path is the folder itself or in it."""
    return path == folder or path.startswith(folder if folder.endswith("/") else folder + "/")


def place_of(path: str) -> str:
    """The absolute path of what `path` names, without symlinks above it; one at its end is not followed."""
    folder, name = os.path.split(path.rstrip("/") or "/")
    if name in {"", ".", ".."}:
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(folder), name)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    parent: int
    mount: Mount

    @classmethod
    def parse(cls, line: bytes) -> _Line:
        before, _, after = line.partition(b" - ")
        fields, others = before.split(b" "), after.split(b" ")
        major, _, minor = fields[2].partition(b":")
        mount = Mount(_text(fields[4]), _text(fields[3]), _text(others[0]), _text(others[1]), (int(major), int(minor)))
        return cls(int(fields[0]), int(fields[1]), mount)


def _is_hidden(line: _Line, by_number: Mapping[int, _Line], on_top: Mapping[int, Sequence[_Line]]) -> bool:
    """Whether another mount lies over it: on itself, or on one below it, where the way to it would lead along."""
    chain = []
    current: _Line | None = line
    while current is not None and current.number not in chain:
        chain.append(current.number)
        current = by_number.get(current.parent)
    return any(
        is_below(line.mount.folder, other.mount.folder)
        for number in chain
        for other in on_top.get(number, ())
        if other.number not in chain
    )


def _text(escaped: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), escaped))
