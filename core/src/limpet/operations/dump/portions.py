"""What is dumped, cut into portions: many small entries together, or a part of a large one.

A portion is one task for a worker, and a few requests to the storage: neighbours in a pack are read together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from limpet.ids import BlobId, StorageId
from limpet.operations.dump.entries import Blob, Entry
from limpet.repository.blob_index import Place, data_length

PORTION_BYTES = 4 * 1024 * 1024
"""Plaintext, and sealed bytes, of a portion; a single blob may be larger."""
MAX_ENTRIES = 1024
MAX_GAP_BYTES = 32 * 1024
"""Bytes between two blobs that are rather read than skipped with another request."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a pack to read."""

    pack_id: StorageId
    offset_bytes: int
    length_bytes: int
    blobs: list[int]
    """Numbers of the blobs that are in it."""


@dataclass(slots=True)
class Blobs:
    """The blobs of a portion, each once, by number."""

    numbers: dict[BlobId, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    sealed_bytes: int = 0

    def add(self, blob: Blob) -> int:
        """The blob's number."""
        blob_id, place = blob
        number = self.numbers.setdefault(blob_id, len(self.places))
        if number == len(self.places):
            self.places.append(place)
            self.sealed_bytes += place[2]
        return number

    def ranges(self) -> list[Range]:
        """What to read for them, by pack and offset; gaps are read as long as there is room for them."""
        room = self.sealed_bytes  # as much again
        ranges: list[Range] = []
        pack_id, begin, end = b"", 0, 0
        for number in sorted(range(len(self.places)), key=self.places.__getitem__):
            its_pack, offset, length, _ = self.places[number]
            gap = offset - end
            if its_pack != pack_id or not 0 <= gap <= min(MAX_GAP_BYTES, room):
                pack_id, begin, end, gap = its_pack, offset, offset, 0
                ranges.append(Range(StorageId(pack_id), begin, 0, []))
            room -= gap
            end = offset + length
            last = ranges[-1]
            last.blobs.append(number)
            ranges[-1] = Range(last.pack_id, begin, end - begin, last.blobs)
        return ranges


@dataclass(slots=True)
class SmallEntries:
    """Entries that are rendered as a whole, with the numbers of their blobs."""

    blobs: Blobs = field(default_factory=Blobs)
    entries: list[tuple[Entry, list[int]]] = field(default_factory=list)
    plain_bytes: int = 0

    def has_room_for(self, entry: Entry) -> bool:
        """Whether the entry fits in."""
        return (
            len(self.entries) < MAX_ENTRIES
            and self.plain_bytes + entry.size_bytes <= PORTION_BYTES
            and self.blobs.sealed_bytes + sum(place[2] for _, place in entry.blobs) <= PORTION_BYTES
        )

    def add(self, entry: Entry) -> None:
        """Put the entry in."""
        self.entries.append((entry, [self.blobs.add(blob) for blob in entry.blobs]))
        self.plain_bytes += entry.size_bytes


@dataclass(slots=True)
class Content:
    """Part of a large entry's content: the numbers of its blobs, in order."""

    blobs: Blobs
    numbers: list[int]


@dataclass(frozen=True, slots=True)
class Begin:
    """A large entry begins."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class End:
    """The large entry that was begun ends."""


Step = SmallEntries | Content | Begin | End


def steps(entries: Iterable[Entry]) -> Iterator[Step]:
    """All entries in their order."""
    small = SmallEntries()
    for entry in entries:
        if small.has_room_for(entry):
            small.add(entry)
            continue
        if small.entries:
            yield small
            small = SmallEntries()
        if small.has_room_for(entry):
            small.add(entry)
            continue
        yield Begin(entry)
        yield from contents(entry.blobs)
        yield End()
    if small.entries:
        yield small


def contents(blobs: Sequence[Blob]) -> Iterator[Content]:
    """The content of an entry in portions."""
    content, plain_bytes = Content(Blobs(), []), 0
    for blob in blobs:
        size_bytes = data_length(blob[1])
        is_full = max(plain_bytes + size_bytes, content.blobs.sealed_bytes + blob[1][2]) > PORTION_BYTES
        if content.numbers and is_full:
            yield content
            content, plain_bytes = Content(Blobs(), []), 0
        content.numbers.append(content.blobs.add(blob))
        plain_bytes += size_bytes
    if content.numbers:
        yield content
