"""What the kernel is told of an entry: its attributes, out of the JSON of its node."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from functools import lru_cache

from limpet.errors import IntegrityError
from limpet.format.chunker import MIN_SIZE, ZERO_CHUNK
from limpet.format.fields import Fields
from limpet.format.node import Node, link_target_of, st_mode_from_go
from limpet.format.timestamps import ZERO_TIME, parse_ns
from pyfuse3 import EntryAttributes, InodeT, ModeT

BLOCK_SIZE = 512
IO_SIZE = 128 * 1024
UNCHANGING_S = 24 * 3600.0
"""Nothing inside of a snapshot ever changes."""
CHANGING_S = 1.0
"""For views, which new snapshots change."""

_FORMATS = {
    "file": stat.S_IFREG,
    "dir": stat.S_IFDIR,
    "symlink": stat.S_IFLNK,
    "dev": stat.S_IFBLK,
    "chardev": stat.S_IFCHR,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}
_ZERO_CHUNK = ZERO_CHUNK.hex()


@lru_cache(maxsize=4096)
def _st_mode(word: str, go_mode: int) -> ModeT:
    """The type as the node's word says, whatever the mode says."""
    return ModeT(_FORMATS[word] | stat.S_IMODE(st_mode_from_go(go_mode)))


def node_attributes(fields: Fields, inode: InodeT, *, owner_root: bool) -> EntryAttributes:
    """The attributes of a node of a snapshot; IntegrityError if they make no sense."""
    entry = EntryAttributes()
    get = fields.get
    try:  # the hot path of every listing: what is no number of the right size is refused by the setters
        word = fields["type"]
        entry.st_ino = inode
        entry.st_mode = _st_mode(word, get("mode") or 0)
        if not owner_root:
            entry.st_uid = get("uid") or 0
            entry.st_gid = get("gid") or 0
        if word != "dir":
            entry.st_nlink = get("links") or 1
            if word == "file":
                size = get("size") or 0
                entry.st_size = size
                stored = size if size <= MIN_SIZE else _without_holes(size, get("content") or ())
                entry.st_blocks = (stored + BLOCK_SIZE - 1) // BLOCK_SIZE
            elif word == "symlink":
                entry.st_size = len(link_target_of(fields))
            else:
                entry.st_rdev = get("device") or 0
        mtime, atime, ctime = get("mtime"), get("atime"), get("ctime")
        mtime_ns = _ns(mtime)
        entry.st_mtime_ns = mtime_ns
        # Without --with-atime two are one, and often all three: to read a time is a quarter of the work for a node.
        entry.st_atime_ns = mtime_ns if atime == mtime else _ns(atime)
        entry.st_ctime_ns = mtime_ns if ctime == mtime else _ns(ctime)
    except (TypeError, OverflowError, AttributeError) as error:
        raise IntegrityError(f"node {str(get('name'))[:80]!r}: a field makes no sense: {error}") from error
    entry.st_blksize = IO_SIZE
    entry.entry_timeout = entry.attr_timeout = UNCHANGING_S
    return entry


def _without_holes(size: int, content: Sequence[str]) -> int:
    """A sparse file must look like one to be copied as one."""
    return max(0, size - content.count(_ZERO_CHUNK) * MIN_SIZE)


def _ns(text: str | None) -> int:
    return ZERO_TIME.ns if text is None else parse_ns(text)


def view_attributes(node: Node, inode: InodeT, *, owner_root: bool, timeout_s: float = CHANGING_S) -> EntryAttributes:
    """The attributes of a view, of a link in it, or of the root of a snapshot."""
    entry = EntryAttributes()
    entry.st_ino = inode
    entry.st_mode = ModeT(st_mode_from_go(node.mode))
    if not owner_root:
        entry.st_uid, entry.st_gid = node.uid, node.gid
    entry.st_size = len(node.link_target)
    entry.st_mtime_ns = entry.st_atime_ns = entry.st_ctime_ns = node.mtime.ns
    entry.st_blksize = IO_SIZE
    entry.entry_timeout = entry.attr_timeout = timeout_s
    return entry


def no_entry() -> EntryAttributes:
    """Tells the kernel that there is no such name, and that it need not ask again soon."""
    entry = EntryAttributes()
    entry.st_ino = InodeT(0)
    entry.entry_timeout = UNCHANGING_S
    return entry
