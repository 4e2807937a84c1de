"""The twin of `_native.BlobMarks` in plain Python: which blobs are used, and what that makes of the packs."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from limpet.format._index_py import COMPRESSED_ENTRY, HEADER_OVERHEAD, ID_SIZE, PLAIN_ENTRY, IndexTable

PACK_USE = struct.Struct("=IIIIQQ")
"""Of a pack: blobs used, unused, and duplicate (unused for the moment); content; bytes used (with the header), unused.

Content is 1 for data, 2 for trees, 4 for anything that is not compressed, added up.
"""

Totals = tuple[int, int, int, int, int, int]
"""Blobs used, duplicate, unused; bytes used, duplicate, unused."""

_PACK_DATA, _PACK_TREES, _PACK_UNCOMPRESSED = 1, 2, 4
_MARK = 1
_MOST_PLACES = 254


@dataclass(slots=True)
class _Pack:
    used_blobs: int = 0
    unused_blobs: int = 0
    duplicate_blobs: int = 0
    content: int = 0
    used_bytes: int = 0
    unused_bytes: int = 0


class BlobMarks:
    """A mark for each blob of the table, in memory given by the caller."""

    def __init__(self, table: IndexTable, memory: object, /) -> None:
        self._table = table
        self._marks = memoryview(memory).cast("B")  # type: ignore[arg-type]
        self._count = len(table)
        if self._marks.readonly:
            raise BufferError("the memory must be writable")
        if len(self._marks) < self._count:
            raise ValueError("the memory must have a byte for each entry of the table")
        self._numbers: dict[tuple[int, bytes], int] = {}
        for number, (kind, blob_id, _) in enumerate(table.iterate()):
            self._numbers.setdefault((kind, blob_id), number)

    def __len__(self) -> int:
        return sum(1 for mark in self._marks[: self._count] if mark)

    def mark(self, kind: int, blob_id: bytes, /) -> bool:
        """Whether it was not marked yet; KeyError for a blob without a mark."""
        return self._set(kind, blob_id, _MARK)

    def unmark(self, kind: int, blob_id: bytes, /) -> bool:
        """Whether it was marked; KeyError for a blob without a mark."""
        return self._set(kind, blob_id, 0)

    def is_marked(self, kind: int, blob_id: bytes, /) -> bool:
        """Whether it is."""
        self._table.contains(kind, blob_id)  # checks both
        number = self._numbers.get((kind, blob_id))
        return number is not None and self._marks[number] != 0

    def mark_listed(self, kind: int, ids: list[object], /) -> list[object]:
        """Marks the blobs with these ids in hex; those that are unknown or no ids."""
        return [text for text in ids if not self._mark_text(kind, text)]

    def survey(self) -> tuple[bytearray, Totals]:
        """A `PACK_USE` for each pack by number, and the totals. ValueError if the table has grown.

        Of the places of a marked blob one is used; the others are duplicates, and count as unused in their packs.
        """
        if len(self._table) != self._count:
            raise ValueError("blobs have been added to the table since")
        entries = [
            (self._numbers[kind, blob_id], pack, length, plain, kind)
            for (kind, blob_id, pack), (length, plain) in zip(self._table.iterate(), self._table.sizes(), strict=True)
        ]
        marks = self._marks
        for first, *_ in entries:
            if 0 < marks[first] <= _MOST_PLACES:
                marks[first] += 1
        packs = [_Pack() for _ in range(self._table.pack_count())]
        totals = [0] * 6
        for first, number, length, plain, kind in entries:
            _take_in(packs[number], totals, max(0, marks[first] - _MARK), length, plain, kind)
        for first, number, length, *_ in entries:
            if marks[first] not in {0, _MARK + 1}:
                marks[first] = _choose(packs[number], totals, marks[first], length)
        for number in range(self._count):
            marks[number] = _MARK if marks[number] else 0
        used, duplicate, unused, used_bytes, duplicate_bytes, unused_bytes = totals
        records = b"".join(
            PACK_USE.pack(
                one.used_blobs, one.unused_blobs, one.duplicate_blobs, one.content, one.used_bytes, one.unused_bytes
            )
            for one in packs
        )
        return bytearray(records), (used, duplicate, unused, used_bytes, duplicate_bytes, unused_bytes)

    def clear_packs(self, kept: bytes | bytearray, /) -> None:
        """Unmarks every blob of which a pack has a copy whose byte in `kept` is set."""
        if len(kept) < self._table.pack_count():
            raise ValueError("a byte for each pack of the table is needed")
        for kind, blob_id, pack in self._table.iterate():
            number = self._numbers.get((kind, blob_id))
            if kept[pack] and number is not None:
                self._marks[number] = 0

    def _set(self, kind: int, blob_id: bytes, value: int) -> bool:
        self._table.contains(kind, blob_id)  # checks both
        number = self._numbers[kind, blob_id]
        before, self._marks[number] = self._marks[number], value
        return before != value

    def _mark_text(self, kind: int, text: object) -> bool:
        if not isinstance(text, str) or len(text) != 2 * ID_SIZE or text.strip("0123456789abcdef"):
            return False
        number = self._numbers.get((kind, bytes.fromhex(text)))
        if number is not None:
            self._marks[number] = _MARK
        return number is not None


def _take_in(  # noqa: PLR0917  # an entry's own parts
    pack: _Pack, totals: list[int], places: int, length: int, plain: int, kind: int
) -> None:
    pack.used_bytes = (pack.used_bytes or HEADER_OVERHEAD) + (COMPRESSED_ENTRY if plain else PLAIN_ENTRY)
    pack.content |= (_PACK_TREES if kind else _PACK_DATA) | (0 if plain else _PACK_UNCOMPRESSED)
    if places == 1:
        pack.used_blobs += 1
        pack.used_bytes += length
    else:
        pack.unused_blobs += 1
        pack.unused_bytes += length
        pack.duplicate_blobs += places > 1
    which = 0 if places == 1 else 1 if places > 1 else 2
    totals[which] += 1
    totals[which + 3] += length


def _choose(pack: _Pack, totals: list[int], mark: int, length: int) -> int:
    """What the duplicate's byte is after this place, which is used now if its pack is needed anyway or the last."""
    if not (pack.used_blobs or pack.duplicate_blobs == pack.unused_blobs or mark == _MARK):
        return mark - 1 if mark - 1 != _MARK + 1 else _MARK
    pack.used_blobs += 1
    pack.used_bytes += length
    pack.unused_blobs -= 1
    pack.unused_bytes -= length
    totals[0] += 1
    totals[1] -= 1
    totals[3] += length
    totals[4] -= length
    return _MARK + 1
