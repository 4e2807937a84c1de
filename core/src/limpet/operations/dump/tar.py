"""A node's header in a tar archive: ustar, with pax records for all that ustar has no room for.

Source: POSIX.1-2008, pax, "Extended Header" and "ustar Interchange Format"; `SCHILY.` records as star, GNU tar, bsdtar
and restic use them. Names and values are raw bytes, as GNU tar writes and reads them.
"""

from __future__ import annotations

import os

from limpet.format.filemode import NodeType, st_mode_from_go
from limpet.format.node import Node
from limpet.format.timestamps import NS_PER_S
from limpet.operations.dump.acl import acl_text
from limpet.operations.dump.stream import Entry

BLOCK_SIZE = 512
END = bytes(2 * BLOCK_SIZE)

_TYPE_FLAGS = {
    NodeType.FILE: b"0",
    NodeType.SYMLINK: b"2",
    NodeType.CHARDEV: b"3",
    NodeType.DEV: b"4",
    NodeType.DIR: b"5",
    NodeType.FIFO: b"6",
}
_PAX = b"x"
_ACLS = {
    b"system.posix_acl_access": b"SCHILY.acl.access",
    b"system.posix_acl_default": b"SCHILY.acl.default",
}
_MAX_7_DIGITS = 0o7777777
_MAX_11_DIGITS = 0o77777777777


def can_hold(node: Node) -> bool:
    """Whether a tar archive has a type for the node: not for sockets."""
    return node.type in _TYPE_FLAGS


def header(entry: Entry) -> bytes:
    """All blocks that come before the content of the entry."""
    node = entry.node
    path = entry.path + b"/" if node.type is NodeType.DIR else entry.path
    records = _xattr_records(node)
    seconds, nanoseconds = divmod(node.mtime.ns, NS_PER_S)
    if nanoseconds or not 0 <= seconds <= _MAX_11_DIGITS:
        records[b"mtime"] = _decimal(node.mtime.ns)
    is_device = node.type in {NodeType.DEV, NodeType.CHARDEV}
    block = _block(
        name=_text(b"path", path, 100, records),
        mode=st_mode_from_go(node.mode) & 0o7777,
        uid=_number(b"uid", node.uid, _MAX_7_DIGITS, records),
        gid=_number(b"gid", node.gid, _MAX_7_DIGITS, records),
        size=_number(b"size", entry.size_bytes, _MAX_11_DIGITS, records),
        mtime=max(0, min(seconds, _MAX_11_DIGITS)),
        flag=_TYPE_FLAGS[node.type],
        link=_text(b"linkpath", node.link_target if node.type is NodeType.SYMLINK else b"", 100, records),
        user=_text(b"uname", node.user.encode("utf-8", "surrogatepass"), 32, records),
        group=_text(b"gname", node.group.encode("utf-8", "surrogatepass"), 32, records),
        major=os.major(node.device) if is_device else 0,
        minor=os.minor(node.device) if is_device else 0,
    )
    return _extended_header(path, records) + block


def padding(size_bytes: int) -> bytes:
    """What comes after content of this size."""
    return bytes(-size_bytes % BLOCK_SIZE)


def _extended_header(path: bytes, records: dict[bytes, bytes]) -> bytes:
    if not records:
        return b""
    data = b"".join(_record(key, value) for key, value in sorted(records.items()))
    name = (b"PaxHeaders.0/" + os.path.basename(path.rstrip(b"/")))[:100]
    return _block(name=name, mode=0o644, size=len(data), flag=_PAX) + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value` and a newline; the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _block(  # the fields of ustar, in their order
    *,
    name: bytes,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    size: int,
    mtime: int = 0,
    flag: bytes,
    link: bytes = b"",
    user: bytes = b"",
    group: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    fields = [name.ljust(100, b"\0"), _octal(mode), _octal(uid), _octal(gid), b"%011o\0" % size, b"%011o\0" % mtime]
    rest = [flag, link.ljust(100, b"\0"), b"ustar\00000", user.ljust(32, b"\0"), group.ljust(32, b"\0")]
    rest += [_octal(major & _MAX_7_DIGITS), _octal(minor & _MAX_7_DIGITS)]
    # The checksum counts its own field as blanks.
    blank = b"".join([*fields, b" " * 8, *rest]).ljust(BLOCK_SIZE, b"\0")
    return b"".join([*fields, b"%06o\0 " % sum(blank), *rest]).ljust(BLOCK_SIZE, b"\0")


def _octal(value: int) -> bytes:
    return b"%07o\0" % value


def _text(key: bytes, value: bytes, room: int, records: dict[bytes, bytes]) -> bytes:
    """What fits into the field; the whole in a record if that is not all, or not ASCII."""
    if len(value) > room or not value.isascii():
        records[key] = value
    return value[:room]


def _number(key: bytes, value: int, most: int, records: dict[bytes, bytes]) -> int:
    if value > most:
        records[key] = b"%d" % value
        return 0
    return value


def _decimal(ns: int) -> bytes:
    """Seconds with a fraction, exactly."""
    seconds, nanoseconds = divmod(abs(ns), NS_PER_S)
    text = f"{'-' if ns < 0 else ''}{seconds}.{nanoseconds:09d}"
    return text.rstrip("0").rstrip(".").encode("ascii")


def _xattr_records(node: Node) -> dict[bytes, bytes]:
    records = {}
    for name, value in node.extended_attributes:
        if name not in _ACLS:
            records[b"SCHILY.xattr." + name] = value
        elif (text := acl_text(value)) is not None:
            records[_ACLS[name]] = text
    return records
