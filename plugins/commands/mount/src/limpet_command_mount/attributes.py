"""What the kernel is told of an entry: its attributes, out of the JSON of its node."""

from __future__ import annotations

import stat
from functools import lru_cache

import pyfuse3
from limpet.format import fields as read
from limpet.format.chunker import MIN_SIZE, ZERO_CHUNK
from limpet.format.fields import Fields
from limpet.format.node import Node, link_target_of, st_mode_from_go
from pyfuse3 import EntryAttributes

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
def _st_mode(word: str, go_mode: int) -> int:
    """The type as the node's word says, whatever the mode says."""
    return _FORMATS[word] | stat.S_IMODE(st_mode_from_go(go_mode))


def node_attributes(fields: Fields, inode: int, *, owner_root: bool) -> EntryAttributes:
    """The attributes of a node of a snapshot; IntegrityError if they make no sense."""
    entry = EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(inode)
    word = fields["type"]
    entry.st_mode = pyfuse3.ModeT(_st_mode(word, read.uint(fields, "mode", read.UINT32)))
    if not owner_root:
        entry.st_uid = read.uint(fields, "uid", read.UINT32)
        entry.st_gid = read.uint(fields, "gid", read.UINT32)
    if word == "file":
        size = read.uint(fields, "size")
        # Holes: a sparse file must look like one to be copied as one.
        zeros = (fields.get("content") or ()).count(_ZERO_CHUNK) * MIN_SIZE
        entry.st_size = size
        entry.st_blocks = max(0, size - zeros + BLOCK_SIZE - 1) // BLOCK_SIZE
        entry.st_nlink = read.uint(fields, "links", read.UINT32) or 1
    elif word != "dir":
        entry.st_nlink = read.uint(fields, "links", read.UINT32) or 1
        if word == "symlink":
            entry.st_size = len(link_target_of(fields))
        else:
            entry.st_rdev = read.uint(fields, "device")
    mtime = read.time(fields, "mtime").ns
    entry.st_mtime_ns = mtime
    # Without --with-atime the two are one: half the work for most nodes.
    entry.st_atime_ns = mtime if fields.get("atime") == fields.get("mtime") else read.time(fields, "atime").ns
    entry.st_ctime_ns = read.time(fields, "ctime").ns
    entry.st_blksize = IO_SIZE
    entry.entry_timeout = entry.attr_timeout = UNCHANGING_S
    return entry


def view_attributes(node: Node, inode: int, *, owner_root: bool, timeout_s: float = CHANGING_S) -> EntryAttributes:
    """The attributes of a view, of a link in it, or of the root of a snapshot."""
    entry = EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(inode)
    entry.st_mode = pyfuse3.ModeT(st_mode_from_go(node.mode))
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
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = UNCHANGING_S
    return entry
