"""Where every blob is: the index of a repository, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from limpet.format.crypto import SEAL_OVERHEAD
from limpet.format.indexfile import decode_index
from limpet.format.native import IndexTable
from limpet.format.pack import BlobKind, PackedBlob
from limpet.ids import BlobId, StorageId

Place = tuple[bytes, int, int, int]
"""`(pack id, offset, sealed length, plain length or 0)` of a blob, as the index's table gives it."""


def data_length(place: Place) -> int:
    """Size in bytes of the plaintext of the blob at this place."""
    return place[3] or place[2] - SEAL_OVERHEAD


@dataclass(frozen=True, slots=True)
class BlobLocation:
    """A sealed blob inside a pack. Sizes in bytes; `plain_length_bytes` is 0 where it is stored uncompressed."""

    pack_id: StorageId
    offset_bytes: int
    length_bytes: int
    plain_length_bytes: int

    @property
    def data_length_bytes(self) -> int:
        """Size of the blob's plaintext."""
        return self.plain_length_bytes or self.length_bytes - SEAL_OVERHEAD


class BlobIndex:
    """All blobs that the index files name; the same blob in two packs is kept twice.

    Built on a table in C: forked workers read it without copying.
    """

    def __init__(self) -> None:
        self.table = IndexTable()

    def add_file(self, json: bytes) -> None:
        """Take in one index file; IntegrityError if it is damaged."""
        try:
            self.table.load_json(json)
        except ValueError:
            # Not laid out as restic or we write it: the tolerant decoder has the last word.
            for pack_id, blobs in decode_index(json).packs:
                self.add_pack(pack_id, blobs)

    def add_pack(self, pack_id: StorageId, blobs: Iterable[PackedBlob]) -> None:
        """Take in one pack."""
        number = self.table.add_pack(pack_id)
        for blob in blobs:
            self.table.add(
                blob.kind.value, blob.id, number, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes
            )

    def contains(self, kind: BlobKind, blob_id: BlobId) -> bool:
        """Whether some pack holds the blob."""
        return self.table.contains(kind.value, blob_id)

    def find(self, kind: BlobKind, blob_id: BlobId) -> BlobLocation | None:
        """One place of the blob, or None."""
        found = self.table.find(kind.value, blob_id)
        return None if found is None else _location(found)

    def find_all(self, kind: BlobKind, blob_id: BlobId) -> list[BlobLocation]:
        """Every place of the blob."""
        return [_location(found) for found in self.table.find_all(kind.value, blob_id)]

    def pack_ids(self) -> list[StorageId]:
        """Every pack that an index names."""
        return [StorageId(pack_id) for pack_id in self.table.pack_ids()]

    def pack_blobs(self, pack_id: StorageId) -> list[PackedBlob]:
        """The blobs of a pack by offset; empty for an unknown pack."""
        try:
            blobs = self.table.pack_blobs(pack_id)
        except KeyError:
            return []
        return [
            PackedBlob(BlobKind(kind), BlobId(blob_id), offset, length, plain)
            for kind, blob_id, offset, length, plain in blobs
        ]

    def pack_sizes(self) -> dict[bytes, int]:
        """Size in bytes that each pack must have, from its blobs and their header."""
        return self.table.pack_sizes()

    def iterate(self, kind: BlobKind | None = None) -> Iterator[tuple[BlobKind, BlobId]]:
        """Every entry of the index."""
        for number, blob_id, _pack in self.table.iterate(None if kind is None else kind.value):
            yield BlobKind(number), BlobId(blob_id)

    def __len__(self) -> int:
        return len(self.table)


def _location(found: tuple[bytes, int, int, int]) -> BlobLocation:
    pack_id, offset, length, plain = found
    return BlobLocation(StorageId(pack_id), offset, length, plain)
