"""Which parts of a pack are looked at one after the other: memory does not grow with the size of packs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

PackBlob = tuple[int, bytes, int, int, int]
"""As the index's table has it: kind, blob id, offset, length, plain length. Objects for each would cost too much."""

WINDOW_BYTES = 4 * 1024 * 1024
"""A window is no larger, unless a single blob or the header is."""


class Window(NamedTuple):
    """The bytes of a pack from `start` to before `end`, and the blobs in it by their numbers in order of offset."""

    start: int
    end: int
    first_blob: int
    end_blob: int

    @property
    def length_bytes(self) -> int:
        """Size of the window."""
        return self.end - self.start


def windows(blobs: Sequence[PackBlob], size_bytes: int, limit_bytes: int = WINDOW_BYTES) -> list[Window]:
    """The whole pack in windows, each blob in one of them; the last has the header.

    The blobs are those of the index, by offset, and need not fit the file: they may overlap or lie beyond its end.
    """
    found: list[Window] = []
    start = first = border = 0
    border_blob = 0
    end = 0
    for number, (_, _, offset, length, _) in enumerate(blobs):
        if offset >= end > start:
            border, border_blob = end, number  # nothing crosses this place
        end = max(end, offset + length)
        if min(end, size_bytes) - start > limit_bytes and start < border < size_bytes:
            found.append(Window(start, border, first, border_blob))
            start, first = border, border_blob
    found.append(Window(start, size_bytes, first, len(blobs)))
    return found
