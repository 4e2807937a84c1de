"""The two encodings of a file's type and permissions: `st_mode` of the system, FileMode of Go in a node."""

from __future__ import annotations

import stat
from enum import Enum


class NodeType(Enum):
    """What a node is; the value is restic's word. INVALID stands for any word that restic does not know."""

    FILE = "file"
    DIR = "dir"
    SYMLINK = "symlink"
    DEV = "dev"
    CHARDEV = "chardev"
    FIFO = "fifo"
    SOCKET = "socket"
    IRREGULAR = "irregular"
    INVALID = ""


# Bits of Go's io/fs.FileMode.
GO_DIR = 1 << 31
GO_SYMLINK = 1 << 27
GO_DEVICE = 1 << 26
GO_FIFO = 1 << 25
GO_SOCKET = 1 << 24
GO_SETUID = 1 << 23
GO_SETGID = 1 << 22
GO_CHARDEV = 1 << 21
GO_STICKY = 1 << 20
GO_IRREGULAR = 1 << 19
_GO_TYPE = GO_DIR | GO_SYMLINK | GO_DEVICE | GO_FIFO | GO_SOCKET | GO_CHARDEV | GO_IRREGULAR

_FORMATS = {
    stat.S_IFREG: (NodeType.FILE, 0),
    stat.S_IFDIR: (NodeType.DIR, GO_DIR),
    stat.S_IFLNK: (NodeType.SYMLINK, GO_SYMLINK),
    stat.S_IFBLK: (NodeType.DEV, GO_DEVICE),
    stat.S_IFCHR: (NodeType.CHARDEV, GO_DEVICE | GO_CHARDEV),
    stat.S_IFIFO: (NodeType.FIFO, GO_FIFO),
    stat.S_IFSOCK: (NodeType.SOCKET, GO_SOCKET),
}
_IRREGULAR = (NodeType.IRREGULAR, GO_IRREGULAR)
_FORMAT_OF_BITS = {bits: fmt for fmt, (_, bits) in _FORMATS.items()}
_SPECIAL_BITS = ((stat.S_ISUID, GO_SETUID), (stat.S_ISGID, GO_SETGID), (stat.S_ISVTX, GO_STICKY))


def node_type_from_stat(st_mode: int) -> NodeType:
    """The type of a file by its `st_mode`; IRREGULAR for what has no word (whiteouts, doors)."""
    return _FORMATS.get(stat.S_IFMT(st_mode), _IRREGULAR)[0]


def go_mode_from_stat(st_mode: int) -> int:
    """Go's FileMode for an `st_mode`."""
    mode = _FORMATS.get(stat.S_IFMT(st_mode), _IRREGULAR)[1] | st_mode & 0o777
    for bit, go_bit in _SPECIAL_BITS:
        if st_mode & bit:
            mode |= go_bit
    return mode


def st_mode_from_go(mode: int) -> int:
    """The `st_mode` for Go's FileMode; type bits that make no sense together give no type at all."""
    st_mode = _FORMAT_OF_BITS.get(mode & _GO_TYPE, 0) | mode & 0o777
    for bit, go_bit in _SPECIAL_BITS:
        if mode & go_bit:
            st_mode |= bit
    return st_mode
