"""Zip archives: deflated in workers, names as they are, Unix modes, times in whole seconds; zip64 where it must be.

Source: PKWARE's APPNOTE.TXT 6.3; the extended timestamp as Info-ZIP writes it.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.filemode import st_mode_from_go
from limpet.format.node import link_target_of
from limpet.format.timestamps import NS_PER_S, local_offset
from limpet.operations.dump.archive import ArchiveWriter, Part, Rendering, Whole
from limpet.operations.dump.crc import combine_crc32
from limpet.operations.dump.entries import Entry

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sBBHHHHHLLLHHHHHLL")
_DESCRIPTOR = struct.Struct("<4sLLL")
_DESCRIPTOR64 = struct.Struct("<4sLQQ")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4sHHHHLLH")
_TIMESTAMP = struct.Struct("<HHBi")  # tag, size, which times, modification time
_TIMESTAMP_TAG = 0x5455
_ZIP64_TAG = 1

_UNIX = 3
_VERSION, _VERSION64 = 20, 45
_STORED, _DEFLATED = 0, 8
_SIZES_COME_LATER, _UTF8_NAME = 0x8, 0x800
_FOLDER_ATTRIBUTE = 0x10
_MAX_I32, _MAX_U32, _MAX_U16 = 2**31 - 1, 2**32 - 1, 2**16 - 1
_MAX_PLAIN_BYTES = 0xF000_0000
"""From here on an entry gets the fields of zip64, before it is known how well it compresses."""
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)
_LAST_TIME = (2107, 12, 31, 23, 59, 58)
_LAST_BLOCK = b"\x03\x00"
"""An empty block that ends a stream of deflated blobs, each of which ends at a byte."""
_LEVEL = 5
"""Go's level 6, which restic uses, makes the archive about as small."""


class ZipRendering(Rendering):
    """Entries of a zip archive, in workers."""

    def whole(self, path: bytes, fields: Fields, contents: Sequence[Buffer]) -> Whole:
        head = _head(path, fields)
        if head.method == _STORED:
            data: list[Buffer] = [link_target_of(fields)] if fields.get("type") == "symlink" else []
            checksum, plain_bytes = (zlib.crc32(data[0]), len(data[0])) if data else (0, 0)
        else:
            deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
            data, checksum, plain_bytes = [], 0, 0
            for content in contents:
                data.append(deflater.compress(content))
                checksum = zlib.crc32(content, checksum)
                plain_bytes += len(content)
            data.append(deflater.flush())
        size_bytes = sum(map(len, data))
        record = _central_record(head, checksum, size_bytes, plain_bytes, 0)
        return Whole([_local_header(head, checksum, size_bytes, plain_bytes), *data], record)

    def part(self, content: Buffer) -> Part:
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = deflater.compress(content) + deflater.flush(zlib.Z_FULL_FLUSH)
        return Part(data, zlib.crc32(content), len(content))


class ZipWriter(ArchiveWriter):
    """What comes between the entries that workers render, and the directory at the end."""

    rendering = ZipRendering()

    def __init__(self) -> None:
        self._offset = 0
        self._directory = bytearray()
        self._count = 0
        self._open: _Open | None = None

    def holds(self, fields: Fields) -> bool:
        """Files, folders and symlinks."""
        return fields.get("type") in {"file", "dir", "symlink"}

    def begin(self, entry: Entry) -> bytes:
        head = _head(entry.path, entry.fields)
        is_large = entry.size_bytes > _MAX_PLAIN_BYTES
        self._open = _Open(head, self._offset, is_large)
        data = _local_header(head, 0, 0, 0, sizes_come_later=True, is_large=is_large)
        self._offset += len(data)
        return data

    def wholes(self, records: Sequence[tuple[bytes, int]]) -> None:
        for record, size_bytes in records:
            self._add(_at_offset(record, self._offset))
            self._offset += size_bytes

    def parts(self, parts: Sequence[tuple[int, int, int]]) -> None:
        entry = self._entry()
        for checksum, plain_bytes, size_bytes in parts:
            combined = combine_crc32(entry.checksum, checksum, plain_bytes)
            entry = entry._replace(
                checksum=combined,
                plain_bytes=entry.plain_bytes + plain_bytes,
                size_bytes=entry.size_bytes + size_bytes,
            )
            self._offset += size_bytes
        self._open = entry

    def end(self) -> bytes:
        entry = self._entry()
        size_bytes = entry.size_bytes + len(_LAST_BLOCK)
        descriptor = _DESCRIPTOR64 if entry.is_large else _DESCRIPTOR
        data = _LAST_BLOCK + descriptor.pack(b"PK\x07\x08", entry.checksum, size_bytes, entry.plain_bytes)
        self._offset += len(data)
        self._add(
            _central_record(
                entry.head,
                entry.checksum,
                size_bytes,
                entry.plain_bytes,
                entry.offset,
                sizes_come_later=True,
            )
        )
        return data

    def finish(self) -> bytes:
        start, size_bytes, count = self._offset, len(self._directory), self._count
        end = b""
        if count >= _MAX_U16 or start + size_bytes >= _MAX_U32:
            end = _END64.pack(
                b"PK\x06\x06",
                _END64.size - 12,
                _VERSION64 | _UNIX << 8,
                _VERSION64,
                0,
                0,
                count,
                count,
                size_bytes,
                start,
            ) + _LOCATOR64.pack(b"PK\x06\x07", 0, start + size_bytes, 1)
        few, small, near = min(count, _MAX_U16), min(size_bytes, _MAX_U32), min(start, _MAX_U32)
        return bytes(self._directory) + end + _END.pack(b"PK\x05\x06", 0, 0, few, few, small, near, 0)

    def _add(self, record: bytes) -> None:
        self._directory += record
        self._count += 1

    def _entry(self) -> _Open:
        assert self._open is not None, "no entry was begun"
        return self._open


class _Head(NamedTuple):
    """What the two headers of an entry have in common."""

    name: bytes
    flags: int
    method: int
    dos_time: int
    dos_date: int
    extra: bytes
    attributes: int


class _Open(NamedTuple):
    """An entry that was begun, and what there is of it so far."""

    head: _Head
    offset: int
    is_large: bool
    checksum: int = 0
    plain_bytes: int = 0
    size_bytes: int = 0


def _head(path: bytes, fields: Fields) -> _Head:
    is_folder = fields.get("type") == "dir"
    name = path + b"/" if is_folder else path
    mtime = read.time(fields, "mtime")
    seconds = mtime.ns // NS_PER_S
    offset_s = mtime.offset_s if mtime.offset_s is not None else local_offset(seconds)
    dos_time, dos_date = _dos_time(seconds + offset_s)
    extra = _TIMESTAMP.pack(_TIMESTAMP_TAG, _TIMESTAMP.size - 4, 1, seconds) if abs(seconds) <= _MAX_I32 else b""
    mode = st_mode_from_go(read.uint(fields, "mode", read.UINT32)) << 16 & _MAX_U32
    method = _DEFLATED if fields.get("type") == "file" else _STORED
    attributes = mode | (_FOLDER_ATTRIBUTE if is_folder else 0)
    return _Head(name, _name_flags(name), method, dos_time, dos_date, extra, attributes)


def _name_flags(name: bytes) -> int:
    """A name may be any bytes: only one in UTF-8 is marked as such."""
    if name.isascii():
        return 0
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return _UTF8_NAME


def _local_header(
    head: _Head,
    checksum: int,
    size_bytes: int,
    plain_bytes: int,
    *,
    sizes_come_later: bool = False,
    is_large: bool = False,
) -> bytes:
    extra, version = head.extra, _VERSION
    if is_large:
        extra, version = extra + struct.pack("<HHQQ", _ZIP64_TAG, 16, 0, 0), _VERSION64
        size_bytes = plain_bytes = _MAX_U32
    flags = head.flags | (_SIZES_COME_LATER if sizes_come_later else 0)
    fixed = _LOCAL.pack(
        b"PK\x03\x04", version, flags, head.method, head.dos_time, head.dos_date,
        checksum, size_bytes, plain_bytes, len(head.name), len(extra),
    )  # fmt: skip
    return fixed + head.name + extra


def _central_record(
    head: _Head, checksum: int, size_bytes: int, plain_bytes: int, offset: int, *, sizes_come_later: bool = False
) -> bytes:
    large = [number for number in (plain_bytes, size_bytes, offset) if number >= _MAX_U32]
    extra, version = head.extra, _VERSION
    if large:
        extra += struct.pack(f"<HH{len(large)}Q", _ZIP64_TAG, 8 * len(large), *large)
        version = _VERSION64
    flags = head.flags | (_SIZES_COME_LATER if sizes_come_later else 0)
    fixed = _CENTRAL.pack(
        b"PK\x01\x02", version, _UNIX, version, flags, head.method, head.dos_time, head.dos_date,
        checksum, min(size_bytes, _MAX_U32), min(plain_bytes, _MAX_U32), len(head.name), len(extra),
        0, 0, 0, head.attributes, min(offset, _MAX_U32),
    )  # fmt: skip
    return fixed + head.name + extra


def _at_offset(record: bytes, offset: int) -> bytes:
    """The record of a small entry, which was made before its offset was known."""
    fixed = list(_CENTRAL.unpack_from(record))
    extra = b""
    if offset >= _MAX_U32:
        extra = struct.pack("<HHQ", _ZIP64_TAG, 8, offset)
        fixed[1] = fixed[3] = _VERSION64
        fixed[12] += len(extra)
    fixed[-1] = min(offset, _MAX_U32)
    return _CENTRAL.pack(*fixed) + record[_CENTRAL.size :] + extra


def _dos_time(local_seconds: int) -> tuple[int, int]:
    """The clock on the wall, within the years that zip knows, as its two fields."""
    try:
        now = tuple(time.gmtime(local_seconds)[:6])
    except (OverflowError, OSError, ValueError):
        now = _FIRST_TIME if local_seconds < 0 else _LAST_TIME
    year, month, day, hour, minute, second = max(_FIRST_TIME, min(now, _LAST_TIME))
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
