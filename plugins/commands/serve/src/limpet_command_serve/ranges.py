"""Which bytes of a file a request wants: RFC 9110, section 14, for one range. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")
_RANGE = re.compile(r"([0-9]{0,18})-([0-9]{0,18})")


class UnsatisfiableRangeError(Exception):
    """416: no byte of the file is in the range, or it is none."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to but without `end`."""

    start: int
    end: int


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """The range that is wanted; None for the whole file, also where several ranges are.

    UnsatisfiableRangeError where it makes no sense for a file of the size. An empty file is always whole: clients ask
    for `bytes=0-` of files whose size they do not know.
    """
    if header is None:
        return None
    plain = _PLAIN.fullmatch(header)
    if plain is not None:
        return _within(plain[1], plain[2], size_bytes)
    unit, equals, text = header.partition("=")
    if unit != "bytes" or not equals:
        raise UnsatisfiableRangeError
    wanted = [part.strip() for part in text.split(",") if part.strip()]
    if len(wanted) != 1:
        return None
    match = _RANGE.fullmatch(wanted[0])
    if match is None or match[0] == "-":
        raise UnsatisfiableRangeError
    return _within(match[1], match[2], size_bytes)


def _within(first: str, last: str, size_bytes: int) -> ByteRange | None:
    if not first:
        return ByteRange(max(0, size_bytes - int(last)), size_bytes)
    start = int(first)
    end = size_bytes if not last else int(last) + 1
    if end <= start and last:
        raise UnsatisfiableRangeError
    if start >= size_bytes:
        if size_bytes == 0 and start == 0:
            return None
        raise UnsatisfiableRangeError
    return ByteRange(start, min(end, size_bytes))
