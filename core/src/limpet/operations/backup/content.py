"""Where the bytes of a large file come from: the file system or a stream, without what need not be read."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import BinaryIO, Protocol

from limpet import filesystem
from limpet.contracts.source import Extent
from limpet.errors import SourceError
from limpet.format.chunker import MIN_SIZE, WINDOW
from limpet.ids import BlobId

MIB = 1024 * 1024

Chunk = tuple[BlobId, int]
"""A chunk and its length in bytes."""


class Content(Protocol):
    """Where a file's bytes come from."""

    def hole_bytes(self, position: int) -> int:
        """How many bytes from the position on are known to be zeros without reading them."""
        ...

    def unchanged(self, position: int) -> Sequence[Chunk]:
        """The chunks from the position on that are known without reading: none where it is no edge between chunks."""
        ...

    def seek(self, position: int) -> None:
        """Read on from there."""
        ...

    def fill(self, window: memoryview, filled: int, position: int) -> tuple[int, bool]:
        """Read on behind the bytes filled: how many there are now, and whether the content has ended."""
        ...


class RealFile:
    """A file of the file system; its holes are not read."""

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self._fd = fd
        self._size = status.st_size
        self._sparse = filesystem.may_have_holes(status)

    def hole_bytes(self, position: int) -> int:
        if not self._sparse or position >= self._size:
            return 0
        data = filesystem.next_data(self._fd, position)
        return (self._size if data is None else data[0]) - position

    def unchanged(self, position: int) -> Sequence[Chunk]:
        return ()

    def seek(self, position: int) -> None:
        os.lseek(self._fd, position, os.SEEK_SET)

    def fill(self, window: memoryview, filled: int, position: int) -> tuple[int, bool]:
        limit = len(window)
        if self._sparse:
            # Read so far into the next hole that the chunk before it surely ends; the rest of the hole is skipped.
            data = filesystem.next_data(self._fd, position + filled)
            hole = position + filled if data is None else data[1]
            self.seek(position + filled)
            limit = min(limit, max(hole - position + MIN_SIZE + WINDOW, filled + MIB))
        while filled < limit:
            count = os.readv(self._fd, [window[filled:limit]])
            if count == 0:
                return filled, True
            filled += count
        return filled, False


class Stream:
    """Content that can only be read on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def hole_bytes(self, position: int) -> int:
        return 0

    def unchanged(self, position: int) -> Sequence[Chunk]:
        return ()

    def seek(self, position: int) -> None:
        raise AssertionError("a stream has no holes")

    def fill(self, window: memoryview, filled: int, position: int) -> tuple[int, bool]:
        return _fill(self._stream, window, filled)


class KnownStream:
    """A stream of which ranges are known: holes, and what is as it was in the parent, whose chunks are `known`.

    Such a range is taken over a chunk at a time, from where an edge between two chunks is one in the parent too: the
    same bytes behind an edge are cut in the same way.
    """

    def __init__(
        self, stream: BinaryIO, name: str, size_bytes: int, extents: Sequence[Extent], known: Sequence[Chunk]
    ) -> None:
        """SourceError for extents that overlap, or lie outside."""
        self._stream = stream
        self._name = name
        self._size = size_bytes
        extents = tuple(extents)  # Looked at once: what a source says must not change in between.
        self._holes = _joined(name, extents, size_bytes, holes=True)
        self._same = _joined(name, extents, size_bytes, holes=False)
        self._starts = [extent.offset_bytes for extent in extents if extent.is_hole or extent.is_unchanged]
        self._chunks = known
        ends = list(accumulate(length for _, length in known))
        self._edges = {start: number for number, start in enumerate([0, *ends[:-1]])} if known else {}
        self._ends = ends

    def hole_bytes(self, position: int) -> int:
        return _left_in(self._holes, position)

    def unchanged(self, position: int) -> Sequence[Chunk]:
        number = self._edges.get(position)
        if number is None:
            return ()
        limit = position + _left_in(self._same, position)
        end = number
        while end < len(self._chunks) and self._ends[end] <= limit:
            end += 1
        if end == len(self._chunks) and end > number and self._ends[-1] != self._size:
            end -= 1  # That one ended with the content, which now goes on.
        return self._chunks[number:end]

    def seek(self, position: int) -> None:
        self._stream.seek(position)

    def fill(self, window: memoryview, filled: int, position: int) -> tuple[int, bool]:
        # So far into the next range that is known that a chunk before it surely ends in a hole, and is likely to end at
        # an edge of the parent's otherwise.
        number = bisect_right(self._starts, position + filled)
        known = self._starts[number] if number < len(self._starts) else self._size
        limit = min(len(window), max(known - position + MIN_SIZE + WINDOW, filled + MIB))
        filled, ended = _fill(self._stream, window[:limit], filled)
        if ended and (end := position + filled) < self._size:
            raise SourceError(f"{self._name}: ends at byte {end}, though it should have {self._size}")
        return filled, ended


def _fill(stream: BinaryIO, window: memoryview, filled: int) -> tuple[int, bool]:
    readinto = getattr(stream, "readinto", None)
    while filled < len(window):
        if readinto is not None:
            count = readinto(window[filled:])
        else:
            data = stream.read(len(window) - filled)
            count = len(data)
            window[filled : filled + count] = data
        if not count:
            return filled, True
        filled += count
    return filled, False


def _joined(name: str, extents: Sequence[Extent], size_bytes: int, *, holes: bool) -> list[tuple[int, int]]:
    """Start and end of the ranges of one kind, neighbours as one."""
    joined: list[tuple[int, int]] = []
    end = 0
    for extent in extents:
        start, length = extent.offset_bytes, extent.length_bytes
        if start < end or length < 0 or start + length > size_bytes:
            raise SourceError(f"{name}: ranges are out of order or beyond its end: {length} bytes from {start} on")
        end = start + length
        if length and (extent.is_hole if holes else extent.is_unchanged):
            if joined and joined[-1][1] == start:
                start = joined.pop()[0]
            joined.append((start, end))
    return joined


def _left_in(ranges: Sequence[tuple[int, int]], position: int) -> int:
    """How many bytes from the position on lie in the range that it is in; 0 if it is in none."""
    number = bisect_right(ranges, position, key=lambda one: one[0]) - 1
    return max(0, ranges[number][1] - position) if number >= 0 else 0
