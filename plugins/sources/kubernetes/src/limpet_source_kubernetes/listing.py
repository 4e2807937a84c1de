"""What is in a volume, as a listing from inside a container tells: folders with the status of their entries.

The listing of a volume is held in memory while it is saved, about 250 bytes a file: a file system lists its folders in
no order, and a snapshot needs them sorted. No content is.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK
from typing import BinaryIO, NamedTuple, cast

from limpet.contracts.source import MadeStat
from limpet.errors import SourceError

ROOT = b"."
_READ_BYTES = 1 << 18
_KINDS = {
    b"f": S_IFREG, b"d": S_IFDIR, b"l": S_IFLNK, b"p": S_IFIFO, b"s": S_IFSOCK, b"b": S_IFBLK, b"c": S_IFCHR,
}  # fmt: skip


class ListedStat(NamedTuple):
    """A status as `StatLike`; the access time is the modification's, as in all that is made up."""

    st_mode: int
    st_mtime_ns: int
    st_size: int
    st_uid: int
    st_gid: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_ctime_ns: int
    st_rdev: int = 0

    @property
    def st_atime_ns(self) -> int:
        return self.st_mtime_ns


class Listed(NamedTuple):
    """One name as the container told it, not yet looked at."""

    name: bytes
    fields: bytes
    link_target: bytes

    def status(self) -> ListedStat:
        """Its status; SourceError for fields that are none."""
        return parse_status(self.fields)


Tree = dict[bytes, list[Listed]]
"""What is in each folder, by its path from the volume's root: `.`, `./a/b`. The root itself is in none."""


def read_tree(output: io.RawIOBase) -> tuple[Tree, Listed]:
    """The whole listing and the volume's root itself; SourceError if it is cut or makes no sense."""
    tree: Tree = {}
    root = None
    for record in _records(cast("BinaryIO", io.BufferedReader(output, _READ_BYTES))):
        fields, path, link_target = record
        folder, _, name = path.rpartition(b"/")
        listed = Listed(name, fields, link_target)
        if path == ROOT:
            root = listed
        else:
            tree.setdefault(folder, []).append(listed)
    if root is None:
        raise SourceError("the listing of a volume does not begin with its root: the container's `find` failed")
    return tree, root


def _records(output: BinaryIO) -> Iterator[tuple[bytes, bytes, bytes]]:
    waiting: list[bytes] = []
    rest = b""
    while data := output.read(_READ_BYTES):
        *texts, rest = (rest + data).split(b"\0")
        waiting += texts
        whole = len(waiting) - len(waiting) % 3
        for place in range(0, whole, 3):
            yield waiting[place], waiting[place + 1], waiting[place + 2]
        del waiting[:whole]
    if rest or waiting:
        raise SourceError("the listing of a volume ends in the middle of a name")


def parse_status(fields: bytes) -> ListedStat:
    """The status that a record says."""
    try:
        kind, mode, uid, gid, size, mtime, ctime, inode, links, device = fields.split(b" ")
        st_mode = int(mode, 16) if kind == b"x" else int(mode, 8) | _KINDS[kind]
        return ListedStat(
            st_mode, _nanoseconds(mtime), int(size), int(uid), int(gid), int(inode), int(device), int(links),
            _nanoseconds(ctime),
        )  # fmt: skip
    except (ValueError, KeyError) as error:
        raise SourceError(f"the listing of a volume is not understood: {fields[:100]!r}") from error


def _nanoseconds(text: bytes) -> int:
    """`1700000000.1234567890` or whole seconds. Parts of a second count on from the whole ones, before 1970 too."""
    seconds, _, parts = text.partition(b".")
    return int(seconds) * 10**9 + int(parts[:9].ljust(9, b"0") or b"0")


def made_folder(mtime_ns: int) -> MadeStat:
    """The status of a folder that is in no file system."""
    return MadeStat(S_IFDIR | 0o755, mtime_ns)
