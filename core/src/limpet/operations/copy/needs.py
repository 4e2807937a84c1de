"""Which blobs of which packs are to be copied: 48 bytes a blob, given out in stretches that one request loads."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple

from limpet.format.crypto import SEAL_OVERHEAD
from limpet.format.pack import BlobKind
from limpet.ids import StorageId
from limpet.repository.sealing import TASK_BLOBS, TASK_BYTES

_NEED = struct.Struct("<III32s")  # offset, length and plain length in the pack; id
JOIN_GAP_BYTES = 256 * 1024
"""Unneeded bytes up to this are read along: cheaper than another request."""

Place = tuple[bytes, int, int, int]
"""`(pack id, offset, sealed length, plain length or 0)`, as the index's table gives it."""
StoredBlob = tuple[int, int, int, bytes]
"""`(offset, sealed length, plain length or 0, id)`."""


class NeededRange(NamedTuple):
    """A stretch of a pack to load in one request, with the blobs wanted from it by offset."""

    pack_id: StorageId
    offset_bytes: int
    length_bytes: int
    blobs: Sequence[StoredBlob]
    is_last: bool
    """Whether nothing else is wanted from the pack."""
    kind: BlobKind = BlobKind.DATA


class Needs:
    """All blobs to copy, by pack, packs in the order in which they are first needed."""

    def __init__(self) -> None:
        self._packs: dict[bytes, bytearray] = {}

    @property
    def packs(self) -> Set[bytes]:
        """The packs that something is needed from."""
        return self._packs.keys()

    def add(self, blob_id: bytes, place: Place) -> None:
        """The blob at this place is needed."""
        pack_id, offset, length, plain_length = place
        needs = self._packs.get(pack_id)
        if needs is None:
            needs = self._packs[pack_id] = bytearray()
        needs += _NEED.pack(offset, length, plain_length, blob_id)

    def ranges(self, limit_bytes: int) -> Iterator[NeededRange]:
        """What to load, pack after pack; forgets what it has given out.

        No more than a task may bring; a range is longer than `limit_bytes` only where a single blob is.
        """
        while self._packs:
            pack_id = next(iter(self._packs))
            blobs = sorted(_NEED.iter_unpack(self._packs.pop(pack_id)))
            yield from pack_ranges(StorageId(pack_id), blobs, limit_bytes)


def pack_ranges(pack_id: StorageId, blobs: Sequence[StoredBlob], limit_bytes: int) -> Iterator[NeededRange]:
    """What to load of one pack for these blobs, which come by offset; at least one."""
    first = plain = end = 0
    begin = blobs[0][0]
    for number, (offset, length, plain_length, _blob_id) in enumerate(blobs):
        size = plain_length or length - SEAL_OVERHEAD
        if number > first and (
            offset - end > JOIN_GAP_BYTES
            or offset + length - begin > limit_bytes
            or plain + size > TASK_BYTES
            or number - first >= TASK_BLOBS
        ):
            yield NeededRange(pack_id, begin, end - begin, blobs[first:number], is_last=False)
            begin, first, plain = offset, number, 0
        end = max(end, offset + length) if number > first else offset + length
        plain += size
    yield NeededRange(pack_id, begin, end - begin, blobs[first:], is_last=True)
