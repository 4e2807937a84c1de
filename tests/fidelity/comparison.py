"""Two trees compared, with nothing of Limpet's: by a walker through folder descriptors, and by rsync."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LINES_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Facts:
    """All that must come back of one path. `content` is a hash, a link target or a device number."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    content: str | bytes | int
    attributes: tuple[tuple[str, bytes], ...]
    same_as: bytes
    """The first of the paths that are one and the same file."""


Manifest = Mapping[bytes, Facts]


def manifest(root: Path) -> Manifest:
    """The facts of everything below the root, by relative path however long, and of the root itself."""
    found: dict[bytes, Facts] = {}
    first_names: dict[tuple[int, int], bytes] = {}
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _look(descriptor, b"", found, first_names)
        found[b""] = _facts(descriptor, b".", b"", first_names)
    finally:
        os.close(descriptor)
    return found


def _look(folder: int, path: bytes, found: dict[bytes, Facts], first_names: dict[tuple[int, int], bytes]) -> None:
    for name in sorted(os.fsencode(name) for name in os.listdir(folder)):
        inner = path + b"/" + name
        facts = found[inner] = _facts(folder, name, inner, first_names)
        if facts.kind == "folder":
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                _look(descriptor, inner, found, first_names)
            finally:
                os.close(descriptor)


def _facts(folder: int, name: bytes, path: bytes, first_names: dict[tuple[int, int], bytes]) -> Facts:
    status = os.lstat(name, dir_fd=folder)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content: str | bytes | int = ""
    if kind == "file":
        content = _digest(folder, name)
    elif kind == "symlink":
        content = os.readlink(name, dir_fd=folder)
    elif kind in {"char", "block"}:
        content = status.st_rdev
    in_folder = b"/proc/self/fd/%d/%b" % (folder, name)
    names = os.listxattr(in_folder, follow_symlinks=False)
    return Facts(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if kind == "file" else 0,
        content=content,
        attributes=tuple(sorted((name, os.getxattr(in_folder, name, follow_symlinks=False)) for name in names)),
        same_as=path if kind == "folder" else first_names.setdefault((status.st_dev, status.st_ino), path),
    )


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def _digest(folder: int, name: bytes) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME, dir_fd=folder)
    with open(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(saved: Manifest, restored: Manifest) -> list[str]:
    """What is different, a line each, cut in the middle of long paths."""
    lines = []
    for path in sorted(saved.keys() | restored.keys()):
        before, after = saved.get(path), restored.get(path)
        shown = path if len(path) < 100 else path[:40] + b"..." + path[-40:]
        if before is None or after is None:
            lines.append(f"{shown!r}: {'made' if before is None else 'lost'} ({before or after})")
        elif before != after:
            fields = [name for name in Facts.__slots__ if getattr(before, name) != getattr(after, name)]
            lines += [f"{shown!r}: {name} {getattr(before, name)!r} -> {getattr(after, name)!r}" for name in fields]
    return lines


def assert_same(saved: Manifest, restored: Manifest) -> None:
    """AssertionError that shows the first differences."""
    found = differences(saved, restored)
    assert not found, f"{len(found)} differences:\n" + "\n".join(line[:300] for line in found[:LINES_SHOWN])


def rsync_differences(one: Path, other: Path, *, leave_out: Iterable[str] = ()) -> list[str]:
    """What `rsync` would do to make the two the same, in both directions; AssertionError where it is missing."""
    rsync = shutil.which("rsync")
    assert rsync is not None, "rsync is missing"
    flags = ["-naiXAH", "--checksum", "--delete", "--numeric-ids", "--modify-window=-1"]
    excluded = [f"--exclude={name}" for name in leave_out]
    lines = []
    for source, target in ((one, other), (other, one)):
        done = subprocess.run(
            [rsync, *flags, *excluded, f"{source}/", f"{target}/"], capture_output=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        lines += done.stdout.decode(errors="replace").splitlines()
    return lines


def allocated_bytes(path: Path) -> int:
    """How much of the disk a file takes."""
    return path.stat().st_blocks * 512
