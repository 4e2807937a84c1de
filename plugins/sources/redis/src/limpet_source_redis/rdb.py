"""An RDB file as it streams by: its end found and its checksum checked, what only tells when it was made left out.

Format: https://rdb.fnordig.de/file_format.html, and rdb.c of Redis. redis-cli appends the 40 bytes by which the server
marks the end of a stream whose length it did not know; a server that tells the length sends none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

from limpet.contracts.piece_stream import piece_stream

READ_SIZE = 1 << 20
HEAD_SIZE = 1 << 16
"""The facts at the beginning take some hundred bytes."""
MAGIC = b"REDIS"
_VERSION_SIZE = 4
_FACT = 0xFA
_END = 0xFF
_CHECKSUM_SIZE = 8
_MARK_SIZE = 40
_TAIL_SIZE = _MARK_SIZE + _CHECKSUM_SIZE + 1
_PASSING = frozenset({b"ctime", b"used-mem", b"repl-stream-db", b"repl-id", b"repl-offset"})
"""Facts about the moment and about replication, of no use to a restored server: the same data gives the same file."""
_INTEGERS = {0: 1, 1: 2, 2: 4}
"""Sizes of integers that stand for strings, by their encoding."""
_LZF = 3

Ended = Callable[[str | None], None]
"""Called once all was read, with what is wrong with it; what it raises, reading raises."""


def checked(output: BinaryIO, ended: Ended) -> BinaryIO:
    """The file in the stream, without its passing facts and without redis-cli's mark, its checksum made anew."""
    return piece_stream(_pieces(output, ended), output)


@cache
def checksum() -> Any:
    """CRC-64 as Redis has it; `calc(data, crc)` goes on from the CRC of what was before."""
    from anycrc import Model  # type: ignore[import-untyped]  # noqa: PLC0415  # only where it is used

    return Model("CRC64-REDIS")


def _pieces(output: BinaryIO, ended: Ended) -> Iterator[bytes]:
    head = _read(output, HEAD_SIZE, ended)
    header = read_header(head)
    if header is None:
        ended("what the server sent is no RDB file")
        return
    calc = checksum().calc
    told_crc, crc = calc(head[: header.size]), calc(header.kept)
    yield header.kept
    rest = head[header.size :]
    while block := _read(output, READ_SIZE, ended):
        rest += block
        if len(rest) > _TAIL_SIZE:
            body, rest = rest[:-_TAIL_SIZE], rest[-_TAIL_SIZE:]
            told_crc, crc = calc(body, told_crc), calc(body, crc)
            yield body
    end = _end_of(rest, told_crc)
    ended(None if end else "the RDB file that the server sent is cut or damaged: its checksum is wrong")
    if end:
        has_checksum = any(rest[end : end + _CHECKSUM_SIZE])
        made = calc(rest[:end], crc) if has_checksum else 0
        yield rest[:end] + made.to_bytes(_CHECKSUM_SIZE, "little")


def _end_of(tail: bytes, crc: int) -> int:
    """Where the checksum is in the last bytes, `crc` being that of all before them; 0 if none of them is one."""
    for mark_size in (_MARK_SIZE, 0):
        end = len(tail) - mark_size - _CHECKSUM_SIZE
        if end > 0 and tail[end - 1] == _END:
            stored = int.from_bytes(tail[end : end + _CHECKSUM_SIZE], "little")
            # 0: the server was told to make none.
            if stored in {0, checksum().calc(tail[:end], crc)}:
                return end
    return 0


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of a file up to the last of its facts: its size, and what is kept of it. Bytes."""

    size: int
    kept: bytes


def read_header(head: bytes) -> Header | None:
    """That of a file which begins with `head`; None if it is no RDB file. A fact that goes beyond is kept."""
    position = len(MAGIC) + _VERSION_SIZE
    if not head.startswith(MAGIC) or not head[len(MAGIC) : position].isdigit():
        return None
    kept = [head[:position]]
    try:
        while head[position] == _FACT:
            name_end, name = _string(head, position + 1)
            end, _ = _string(head, name_end)
            if end > len(head):
                break
            if name not in _PASSING:
                kept.append(head[position:end])
            position = end
    except (IndexError, ValueError):
        pass  # Of a kind that is not known here: it stays as it is, with all behind it.
    return Header(position, b"".join(kept))


def _string(data: bytes, position: int) -> tuple[int, bytes | None]:
    """Where the string ends that begins there, and the string itself if it is stored as such."""
    first = data[position]
    if first >> 6 == 3:  # the first two bits: not a length
        encoding = first & 0x3F
        if encoding == _LZF:
            position, packed_size = _length(data, position + 1)
            position, _ = _length(data, position)
            return position + packed_size, None
        if encoding not in _INTEGERS:
            raise ValueError(encoding)
        return position + 1 + _INTEGERS[encoding], None
    position, size = _length(data, position)
    return position + size, data[position : position + size]


def _length(data: bytes, position: int) -> tuple[int, int]:
    """Where the length ends that is encoded there, and the length."""
    first = data[position]
    match first >> 6:
        case 0:
            return position + 1, first
        case 1:
            return position + 2, (first & 0x3F) << 8 | data[position + 1]
        case 2:
            size = {0x80: 4, 0x81: 8}.get(first, 0)
            if not size:
                raise ValueError(first)
            return position + 1 + size, int.from_bytes(data[position + 1 : position + 1 + size], "big")
        case _:
            raise ValueError(first)


def _read(output: BinaryIO, size: int, ended: Ended) -> bytes:
    try:
        return output.read(size)
    except OSError:
        ended("the server sent nothing")  # Why, the command may have said.
        raise
