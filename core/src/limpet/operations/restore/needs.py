"""Which blobs of which packs are needed, and where each goes: 56 bytes a blob, whatever the size of the restore."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from limpet.format.crypto import SEAL_OVERHEAD
from limpet.ids import BlobId, StorageId
from limpet.repository.blob_index import Place

_NEED = struct.Struct("<QIIIQ32s")  # offset, length and plain length in the pack; file number; offset in the file; id
JOIN_GAP_BYTES = 256 * 1024
"""Unneeded bytes up to this are read along: cheaper than another request."""
OUTPUT_BYTES = 64 * 1024 * 1024
"""No task writes more than about this, so that nothing takes long to stop."""
FILE_COST_BYTES = 32 * 1024
"""What making a file costs, in bytes that could be written instead."""


@dataclass(slots=True)  # not frozen: making one takes a third of the time
class NeededBlob:
    """A blob to load, and every `(file number, offset in the file)` that it goes to."""

    blob_id: BlobId
    offset_bytes: int
    length_bytes: int
    plain_length_bytes: int
    targets: list[tuple[int, int]]

    @property
    def data_length_bytes(self) -> int:
        """Size of the blob's plaintext."""
        return self.plain_length_bytes or self.length_bytes - SEAL_OVERHEAD


@dataclass(frozen=True, slots=True)
class NeededRange:
    """A stretch of a pack to load in one request, with the blobs wanted from it by offset."""

    pack_id: StorageId
    offset_bytes: int
    length_bytes: int
    blobs: list[NeededBlob]


class Needs:
    """All blobs to load, by pack, packs in the order in which they are first needed."""

    def __init__(self) -> None:
        self._packs: dict[bytes, bytearray] = {}

    def add(self, blob_id: BlobId, place: Place, file_number: int, file_offset: int) -> None:
        """The file needs the blob at this offset."""
        pack_id, offset, length, plain_length = place
        needs = self._packs.get(pack_id)
        if needs is None:
            needs = self._packs[pack_id] = bytearray()
        needs += _NEED.pack(offset, length, plain_length, file_number, file_offset, blob_id)

    def ranges(self, limit_bytes: int) -> Iterator[NeededRange]:
        """What to load, pack after pack; forgets what it has given out.

        A range is longer than `limit_bytes` only where a single blob is.
        """
        while self._packs:
            pack_id = next(iter(self._packs))
            yield from _ranges(StorageId(pack_id), _blobs(self._packs.pop(pack_id)), limit_bytes)


def _blobs(needs: bytearray) -> list[NeededBlob]:
    """The blobs of one pack by offset, each with all its targets."""
    blobs: list[NeededBlob] = []
    last = None
    for offset, length, plain_length, file_number, file_offset, blob_id in sorted(_NEED.iter_unpack(needs)):
        # A damaged index may name two blobs at one place: each is verified by its own id.
        if (offset, length, plain_length, blob_id) != last:
            last = (offset, length, plain_length, blob_id)
            blobs.append(NeededBlob(BlobId(blob_id), offset, length, plain_length, []))
        blobs[-1].targets.append((file_number, file_offset))
    return blobs


def _ranges(pack_id: StorageId, blobs: list[NeededBlob], limit_bytes: int) -> Iterator[NeededRange]:
    begin, end = blobs[0].offset_bytes, 0
    joined: list[NeededBlob] = []
    for blob in blobs:
        blob_end = blob.offset_bytes + blob.length_bytes
        if joined and (blob.offset_bytes - end > JOIN_GAP_BYTES or max(end, blob_end) - begin > limit_bytes):
            yield NeededRange(pack_id, begin, end - begin, joined)
            begin, end, joined = blob.offset_bytes, 0, []
        joined.append(blob)
        end = max(end, blob_end)
    yield NeededRange(pack_id, begin, end - begin, joined)


def output_portions(blobs: list[NeededBlob]) -> Iterator[list[NeededBlob]]:
    """The blobs in portions that write about OUTPUT_BYTES at most; a blob that many files need is in several."""
    if sum((blob.data_length_bytes + FILE_COST_BYTES) * len(blob.targets) for blob in blobs) <= OUTPUT_BYTES:
        yield blobs
        return
    portion: list[NeededBlob] = []
    written = 0
    for blob in blobs:
        cost = blob.data_length_bytes + FILE_COST_BYTES
        room = max(1, OUTPUT_BYTES // cost)
        for first in range(0, len(blob.targets), room):
            targets = blob.targets[first : first + room]
            if portion and written + len(targets) * cost > OUTPUT_BYTES:
                yield portion
                portion, written = [], 0
            portion.append(
                NeededBlob(blob.blob_id, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes, targets)
            )
            written += len(targets) * cost
    yield portion
