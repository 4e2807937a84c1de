"""Ranges of bytes: sorted, without overlaps, begin and end of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from limpet.contracts.source import Extent

Range = tuple[int, int]
"""Begin, and end behind the last byte."""


def merged(ranges: Iterable[Range], size_bytes: int) -> list[Range]:
    """The same bytes as sorted ranges that neither touch nor overlap, none of them outside of 0 to `size_bytes`."""
    found: list[Range] = []
    for begin, end in sorted((max(begin, 0), min(end, size_bytes)) for begin, end in ranges):
        if begin >= end:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def rest_of(ranges: Sequence[Range], size_bytes: int) -> list[Range]:
    """All bytes from 0 to `size_bytes` that are in none of the merged ranges."""
    rest: list[Range] = []
    position = 0
    for begin, end in ranges:
        if begin > position:
            rest.append((position, begin))
        position = end
    if position < size_bytes:
        rest.append((position, size_bytes))
    return rest


def without(ranges: Sequence[Range], taken: Sequence[Range], size_bytes: int) -> list[Range]:
    """The bytes of the merged ranges that are in none of the merged ranges `taken`."""
    return rest_of(merged([*taken, *rest_of(ranges, size_bytes)], size_bytes), size_bytes)


def contain(outer: Sequence[Range], inner: Sequence[Range]) -> bool:
    """Whether every byte of the merged ranges `inner` is in the merged ranges `outer`."""
    end = max((end for _, end in (*outer, *inner)), default=0)
    return not without(inner, outer, end)


def extents(holes: Sequence[Range], unchanged: Sequence[Range], size_bytes: int) -> list[Extent]:
    """What need not be read, in order. What is both is a hole: no parent is needed to know its content."""
    clean_holes = merged(holes, size_bytes)
    kept = without(merged(unchanged, size_bytes), clean_holes, size_bytes)
    found = [Extent(begin, end - begin, is_hole=True) for begin, end in clean_holes]
    found += [Extent(begin, end - begin, is_unchanged=True) for begin, end in kept]
    return sorted(found, key=lambda extent: extent.offset_bytes)
