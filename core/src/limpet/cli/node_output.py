"""One entry of a snapshot as `ls` shows it: restic's long listing, its JSON document, and ncdu's."""

from __future__ import annotations

from typing import Any

from limpet.cli.formatting import format_bytes
from limpet.cli.times import format_local
from limpet.format.node import Node, NodeType
from limpet.format.timestamps import NS_PER_S, format_time

MODE_LETTERS = "dalTLDpSugct?"
"""Go's letters for the bits of a FileMode, from bit 31 down."""
PERMISSION_LETTERS = "rwxrwxrwx"
NCDU_BLOCK_SIZE = 512

_DIR, _SYMLINK, _DEVICE, _FIFO, _SOCKET, _SETUID, _SETGID, _CHARDEV, _STICKY = (
    1 << bit for bit in (31, 27, 26, 25, 24, 23, 22, 21, 20)
)
_TYPE_BITS = {
    NodeType.DIR: _DIR,
    NodeType.SYMLINK: _SYMLINK,
    NodeType.DEV: _DEVICE,
    NodeType.CHARDEV: _DEVICE | _CHARDEV,
    NodeType.FIFO: _FIFO,
    NodeType.SOCKET: _SOCKET,
}


def to_text(raw: bytes) -> str:
    """A name or path as text; bytes that are no UTF-8 become surrogates and are written back unchanged."""
    return raw.decode("utf-8", "surrogateescape")


def file_size(node: Node) -> int:
    """The size that a listing shows: of files only."""
    return node.size if node.type is NodeType.FILE else 0


def mode_text(mode: int) -> str:
    """A Go FileMode as Go shows it: `drwxr-xr-x`, `Lrwxrwxrwx`, `ugrwxr-xr-x`."""
    letters = "".join(letter for bit, letter in enumerate(MODE_LETTERS) if mode & (1 << (31 - bit)))
    permissions = "".join(letter if mode & (1 << (8 - bit)) else "-" for bit, letter in enumerate(PERMISSION_LETTERS))
    return (letters or "-") + permissions


def long_line(path: bytes, node: Node, *, human_readable: bool) -> str:
    """Mode, owner, size, time, path and link target: `ls --long`."""
    size = format_bytes(file_size(node)) if human_readable else f"{file_size(node):6d}"
    target = f" -> {to_text(node.link_target)}" if node.type is NodeType.SYMLINK else ""
    mode = mode_text(node.mode | _TYPE_BITS.get(node.type, 0))
    return f"{mode} {node.uid:5d} {node.gid:5d} {size} {format_local(node.mtime.ns)} {to_text(path)}{target}"


def node_document(path: bytes, node: Node) -> dict[str, Any]:
    """The entry as `ls --json` tells it."""
    document: dict[str, Any] = {
        "name": to_text(node.name),
        "type": node.type.value,
        "path": to_text(path),
        "uid": node.uid,
        "gid": node.gid,
    }
    if node.type is NodeType.FILE:
        document["size"] = node.size
    if node.mode:
        document["mode"] = node.mode
    document |= {
        "permissions": mode_text(node.mode),
        "mtime": format_time(*node.mtime),
        "atime": format_time(*node.atime),
        "ctime": format_time(*node.ctime),
    }
    if node.inode:
        document["inode"] = node.inode
    return document | {"message_type": "node", "struct_type": "node"}


def ncdu_document(node: Node) -> dict[str, Any]:
    """The entry in ncdu's export format (https://dev.yorhel.nl/ncdu/jsonfmt)."""
    size = file_size(node)
    special = (0o4000, _SETUID), (0o2000, _SETGID), (0o1000, _STICKY)
    return {
        "name": to_text(node.name),
        "asize": size,
        "dsize": -(-size // NCDU_BLOCK_SIZE) * NCDU_BLOCK_SIZE,
        "dev": node.device_id,
        "ino": node.inode,
        "nlink": node.links,
        "notreg": node.type not in {NodeType.DIR, NodeType.FILE},
        "uid": node.uid,
        "gid": node.gid,
        "mode": (node.mode & 0o777) | sum(bits for bits, flag in special if node.mode & flag),
        "mtime": max(0, node.mtime.ns // NS_PER_S),  # ncdu knows no time before 1970
    }
