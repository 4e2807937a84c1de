"""A stable archive: the time of its making, in the header of pg_dump's custom format, becomes a fixed one.

Nothing else in an archive tells two dumps of one content apart. The header is that of `WriteHead` in PostgreSQL's
pg_backup_archiver.c; a header that looks otherwise is passed on as it is.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

MAGIC = b"PGDMP"
_CUSTOM = 1
_PREFIX = struct.Struct("<5s3B3B")  # magic; version: major, minor, revision; sizes of an integer and an offset; format
_INTEGER = struct.Struct("<Bi")  # sign, magnitude
_INTEGER_SIZE = 4
_ONE_BYTE_COMPRESSION = (1, 15)
"""The version that began to name the compression by one byte; an integer was its level before."""
_FIXED_TIME = (0, 0, 0, 1, 0, 100, 0)
"""Midnight of 2000-01-01: second, minute, hour, day, month from 0, years since 1900, daylight saving."""
_LIMITS = ((0, 61), (0, 59), (0, 23), (1, 31), (0, 11), (70, 1000), (-1, 1))
HEADER_SIZE = _PREFIX.size + _INTEGER.size * (1 + len(_FIXED_TIME))


def with_fixed_time(output: BinaryIO) -> BinaryIO:
    """The archive that `output` is, read from its beginning, with the fixed time in its header."""
    return io.BufferedReader(_Changed(output), io.DEFAULT_BUFFER_SIZE)


def fixed_header(head: bytes) -> bytes:
    """The first `HEADER_SIZE` bytes of an archive with the fixed time; unchanged if they are none."""
    if len(head) < HEADER_SIZE:
        return head
    magic, major, minor, _revision, integer_size, _offset_size, kind = _PREFIX.unpack_from(head)
    if magic != MAGIC or integer_size != _INTEGER_SIZE or kind != _CUSTOM:
        return head
    begin = _PREFIX.size + (1 if (major, minor) >= _ONE_BYTE_COMPRESSION else _INTEGER.size)
    end = begin + _INTEGER.size * len(_FIXED_TIME)
    numbers = [-size if sign else size for sign, size in _INTEGER.iter_unpack(head[begin:end])]
    if not all(low <= number <= high for number, (low, high) in zip(numbers, _LIMITS, strict=True)):
        return head
    return head[:begin] + b"".join(_INTEGER.pack(0, number) for number in _FIXED_TIME) + head[end:]


class _Changed(io.RawIOBase):
    """Reads on through `output`; closing it closes that."""

    def __init__(self, output: BinaryIO) -> None:
        super().__init__()
        self._output = output
        self._head: bytes | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._head is None:
            self._head = fixed_header(self._output.read(HEADER_SIZE))
        if self._head:
            count = min(len(buffer), len(self._head))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        return self._output.readinto(buffer)  # type: ignore[attr-defined, no-any-return]

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._output.close()
