"""Tar archives: ustar, with pax records for all that ustar has no room for.

Source: POSIX.1-2008, pax, "Extended Header" and "ustar Interchange Format"; `SCHILY.` records as star, GNU tar, bsdtar
and restic use them. Names and values are raw bytes, as GNU tar writes and reads them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.filemode import st_mode_from_go
from limpet.format.node import extended_attributes_of, link_target_of
from limpet.format.timestamps import NS_PER_S
from limpet.operations.dump.acl import acl_text
from limpet.operations.dump.archive import ArchiveWriter, Part, Rendering, Whole
from limpet.operations.dump.entries import Entry

BLOCK_SIZE = 512
END = bytes(2 * BLOCK_SIZE)

_TYPE_FLAGS = {"file": b"0", "symlink": b"2", "chardev": b"3", "dev": b"4", "dir": b"5", "fifo": b"6"}
_PAX = b"x"
_ACLS = {
    b"system.posix_acl_access": b"SCHILY.acl.access",
    b"system.posix_acl_default": b"SCHILY.acl.default",
}
_MAX_7_DIGITS = 0o7777777
_MAX_11_DIGITS = 0o77777777777
_PADDINGS = [bytes(-size % BLOCK_SIZE) for size in range(BLOCK_SIZE)]


class TarRendering(Rendering):
    """Entries of a tar archive, in workers."""

    def whole(self, path: bytes, fields: Fields, contents: Sequence[Buffer]) -> Whole:
        size_bytes = sum(map(len, contents))
        return Whole([header(path, fields, size_bytes), *contents, padding(size_bytes)], b"")

    def part(self, content: Buffer) -> Part:
        return Part(content, 0, len(content))


class TarWriter(ArchiveWriter):
    """What comes between the entries that workers render."""

    rendering = TarRendering()

    def __init__(self) -> None:
        self._open_bytes = 0

    def holds(self, fields: Fields) -> bool:
        """Not sockets: an archive has no type for them."""
        return fields.get("type") in _TYPE_FLAGS

    def begin(self, entry: Entry) -> bytes:
        self._open_bytes = entry.size_bytes
        return header(entry.path, entry.fields, entry.size_bytes)

    def end(self) -> bytes:
        return padding(self._open_bytes)

    def finish(self) -> bytes:
        return END


def header(path: bytes, fields: Fields, size_bytes: int) -> bytes:
    """All blocks that come before the content of an entry."""
    node_type = read.string(fields, "type")
    if node_type == "dir":
        path += b"/"
    records = _xattr_records(fields) if "extended_attributes" in fields else {}
    mtime_ns = read.time(fields, "mtime").ns
    seconds, nanoseconds = divmod(mtime_ns, NS_PER_S)
    if nanoseconds or not 0 <= seconds <= _MAX_11_DIGITS:
        records[b"mtime"] = _decimal(mtime_ns)
    device = read.uint(fields, "device") if node_type in {"dev", "chardev"} else 0
    block = _block(
        name=_text(b"path", path, 100, records),
        mode=st_mode_from_go(read.uint(fields, "mode", read.UINT32)) & 0o7777,
        uid=_number(b"uid", read.uint(fields, "uid"), _MAX_7_DIGITS, records),
        gid=_number(b"gid", read.uint(fields, "gid"), _MAX_7_DIGITS, records),
        size=_number(b"size", size_bytes, _MAX_11_DIGITS, records),
        mtime=max(0, min(seconds, _MAX_11_DIGITS)),
        flag=_TYPE_FLAGS[node_type],
        link=_text(b"linkpath", link_target_of(fields) if node_type == "symlink" else b"", 100, records),
        user=_text(b"uname", read.string(fields, "user").encode("utf-8", "surrogatepass"), 32, records),
        group=_text(b"gname", read.string(fields, "group").encode("utf-8", "surrogatepass"), 32, records),
        device=(os.major(device), os.minor(device)),
    )
    return _extended_header(path, records) + block if records else block


def padding(size_bytes: int) -> bytes:
    """What comes after content of this size."""
    return _PADDINGS[size_bytes % BLOCK_SIZE]


def _extended_header(path: bytes, records: dict[bytes, bytes]) -> bytes:
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
    device: tuple[int, int] = (0, 0),
) -> bytes:
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, mtime)
    tail = b"%b%bustar\00000%b%b%07o\0%07o\0" % (
        flag,
        link.ljust(100, b"\0"),
        user.ljust(32, b"\0"),
        group.ljust(32, b"\0"),
        device[0] & _MAX_7_DIGITS,
        device[1] & _MAX_7_DIGITS,
    )
    # The checksum counts its own field as eight blanks.
    return b"".join((head, b"%06o\0 " % (sum(head) + sum(tail) + 8 * 0x20), tail, bytes(BLOCK_SIZE - 345)))


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


def _xattr_records(fields: Fields) -> dict[bytes, bytes]:
    records = {}
    for name, value in extended_attributes_of(fields):
        if name not in _ACLS:
            records[b"SCHILY.xattr." + name] = value
        elif (text := acl_text(value)) is not None:
            records[_ACLS[name]] = text
    return records
