"""Blobs to packs: hash, deduplicate, compress, seal, verify, append. Runs in every worker.

The pack grows in memory that the parent maps too, so a finished one is handed over as a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.chunker import MAX_SIZE
from limpet.format.compression import Compressor, Level
from limpet.format.crypto import SEAL_OVERHEAD, Box, MasterKey
from limpet.format.native import Sha256, sha256_all
from limpet.format.pack import (
    COMPRESSED_ENTRY_SIZE,
    HEADER_OVERHEAD,
    MAX_HEADER_ENTRIES,
    TRAILER_SIZE,
    BlobKind,
    PackedBlob,
    encode_header,
    encode_trailer,
)
from limpet.ids import BlobId, StorageId, short
from limpet.repository.blob_index import BlobIndex
from limpet.repository.blobs import TOGETHER_BYTES, BlobOpener
from limpet.repository.workers import SharedBuffers

TASK_BYTES = MAX_SIZE
"""A task brings at most this much plaintext, so that a pack passes its size by no more than that."""
_ROOM = TASK_BYTES + TASK_BYTES // 128 + 64 * 1024
"""What a task may add to a pack: its plaintext when nothing compresses, and what each blob costs on top."""
TASK_BLOBS = 1024
"""A task brings at most so many blobs."""


class FreePacks(Protocol):
    """Numbers of free pack buffers, shared by all sealers of a kind of blobs (a queue of threads or processes)."""

    def get(self) -> int:
        """Take one; waits."""
        ...

    def put(self, item: int, /) -> None:
        """Give one back."""
        ...


@dataclass(frozen=True, slots=True)
class SealPlan:
    """All that sealing needs; made before the workers are forked and inherited by them."""

    key: MasterKey
    compress: bool
    """Whether blobs are compressed: in version 2 of the format."""
    level: Level
    verify: bool
    pack_size_bytes: int
    index: BlobIndex
    windows: SharedBuffers
    """Buffers with file content, or with stored blobs, that the parent has read."""
    packs: SharedBuffers
    free_packs: FreePacks
    source_key: MasterKey
    """What opens stored blobs: the same key, or that of the repository they are copied from."""


Place = tuple[BlobId, int, int, int]
"""Id, offset, length and plain length of a blob: what crosses from a worker, at a tenth of a PackedBlob's cost."""


@dataclass(frozen=True, slots=True)
class FinishedPack:
    """A whole pack, ready to be saved."""

    buffer: int | bytearray
    """The number of the shared buffer that holds it; the bytes themselves where it has outgrown that."""
    length_bytes: int
    pack_id: StorageId
    kind: BlobKind
    places: Sequence[Place]

    @property
    def blobs(self) -> list[PackedBlob]:
        """The blobs by offset."""
        return [PackedBlob(self.kind, *place) for place in self.places]


def pack_buffer_size(pack_size_bytes: int) -> int:
    """Bytes that a buffer needs so that a pack of the size aimed at, passed by one task, fits."""
    return -(-(pack_size_bytes + _ROOM + HEADER_OVERHEAD) // 4096) * 4096


class Sealer:
    """Appends blobs of one kind to its open pack. `claim` says whether a blob is ours to store.

    `added_bytes` and `stored_bytes` count what was new: plaintext, and the same sealed.
    """

    def __init__(self, plan: SealPlan, kind: BlobKind, claim: Callable[[bytes], bool]) -> None:
        self._plan = plan
        self._kind = kind
        self._claim = claim
        self._contains = plan.index.table.contains
        self._compresses = plan.compress and plan.level.compresses(kind)
        self._compressor = Compressor(plan.level)
        self._box = Box(plan.key)
        self._opener = BlobOpener(plan.key)
        self._source = BlobOpener(plan.source_key)
        # Recompressing gives other bytes for the same content: only for another level than the usual one.
        self._keeps_frames = self._compresses and plan.level is Level.AUTO
        self._buffer: int | bytearray | None = None
        self._view = memoryview(b"")
        self._position = 0
        self._places: list[Place] = []
        self._hash = Sha256()
        self._hashed_end = 0
        """How much of the pack is in the hash."""
        self._unverified: list[Place] = []
        self._unverified_bytes = 0
        self.added_bytes = 0
        self.stored_bytes = 0

    def store(self, data: Buffer) -> BlobId:
        """The blob's id; the blob is in the open pack now, or was known before."""
        return self.store_all((data,))[0]

    def store_all(self, blobs: Sequence[Buffer]) -> list[BlobId]:
        """The ids of the blobs, each of them in the open pack now or known before; quicker than one by one."""
        ids = [BlobId(digest) for digest in sha256_all(blobs)]
        for blob_id, data in zip(ids, blobs, strict=True):
            if not self._contains(self._kind.value, blob_id) and self._claim(blob_id):
                self._append(blob_id, data)
        return ids

    def store_again(self, data: Buffer) -> BlobId:
        """The blob's id; the blob is in the open pack now, known before or not."""
        blob_id = BlobId(sha256_all((data,))[0])
        self._append(blob_id, data)
        return blob_id

    def reseal(self, sealed: Buffer, blob_id: BlobId, plain_length_bytes: int) -> bool:
        """Put a stored blob into the open pack, whether or not it is known; False if it is damaged.

        It is compressed anew only where it has to be. IntegrityError as `store`.
        """
        stored_length_bytes = plain_length_bytes
        try:
            content = self._source.box.open(sealed)
            if not self._keeps_frames:
                content, plain_length_bytes = self._source.plaintext(content, plain_length_bytes), 0
            if not self._plan.verify:  # else the id is compared when the seal is opened again
                self._source.verified(content, blob_id, plain_length_bytes)
        except IntegrityError:
            return False
        place = self._seal(blob_id, content, plain_length_bytes)
        try:
            # At once: what is damaged already must not get into the pack.
            self._verify([place])
        except IntegrityError:
            if self.open(sealed, blob_id, stored_length_bytes) is None:
                return False
            raise
        self._add(place)
        return True

    def window(self, number: int) -> memoryview:
        """A buffer with what the parent has read."""
        return self._plan.windows.view(number)

    def open(self, sealed: Buffer, blob_id: BlobId, plain_length_bytes: int) -> bytes | None:
        """A stored blob's plaintext; None if it is damaged."""
        try:
            return self._source.open(sealed, blob_id, plain_length_bytes)
        except IntegrityError:
            return None

    @property
    def room_bytes(self) -> int:
        """How much more this pack may take in this task."""
        if self._buffer is None:
            return self._plan.pack_size_bytes + TASK_BYTES
        return self._plan.pack_size_bytes + TASK_BYTES - self._size

    def take_full(self) -> FinishedPack | None:
        """The open pack, finished, if it has reached the size aimed at."""
        full = self._size >= self._plan.pack_size_bytes or len(self._places) + TASK_BLOBS > MAX_HEADER_ENTRIES
        return self.take() if full else None

    def take(self) -> FinishedPack | None:
        """The open pack, finished, however small; None if nothing is in it."""
        if self._buffer is None:
            return None
        if not self._places:  # all that was to be sealed anew was damaged
            self._free_buffer()
            self._buffer, self._view = None, memoryview(b"")
            return None
        self._verify_added()
        length = self._append_header()
        self._hash.update(self._view[self._hashed_end : length])
        finished = FinishedPack(self._buffer, length, StorageId(self._hash.digest()), self._kind, self._places)
        self._buffer, self._view, self._position, self._places = None, memoryview(b""), 0, []
        self._hash, self._hashed_end = Sha256(), 0
        return finished

    @property
    def _size(self) -> int:
        """Bytes of the pack if it were finished now."""
        return self._position + len(self._places) * COMPRESSED_ENTRY_SIZE + HEADER_OVERHEAD

    def _append(self, blob_id: BlobId, data: Buffer) -> None:
        """Put the plaintext into the open pack; it is verified before the pack is taken."""
        place = self._seal(blob_id, data)
        self._add(place)
        self._unverified.append(place)
        self._unverified_bytes += len(data)
        if self._unverified_bytes >= TOGETHER_BYTES:
            self._verify_added()

    def _seal(self, blob_id: BlobId, content: Buffer, plain_length: int = 0) -> Place:
        """Write the sealed blob behind the others; `content` is plain, or with a plain length compressed."""
        if self._buffer is None:
            self._buffer = self._plan.free_packs.get()
            self._view = self._plan.packs.view(self._buffer)
        size = len(content)
        if self._compresses and not plain_length and size:  # a plain length of 0 stands for one not compressed
            content, plain_length = self._compressor.compress(content), size
        room = self._size + COMPRESSED_ENTRY_SIZE + SEAL_OVERHEAD + len(content)
        if room > len(self._view):
            self._outgrow(room)
        return blob_id, self._position, self._box.seal_into(content, self._view[self._position :]), plain_length

    def _add(self, place: Place) -> None:
        """Make the blob just sealed a part of the pack."""
        _, start, length, plain_length = place
        self._places.append(place)
        self._position = start + length
        self.added_bytes += plain_length or length - SEAL_OVERHEAD
        self.stored_bytes += length

    def _outgrow(self, size_bytes: int) -> None:
        """Move the open pack into memory of its own: the tree of a huge folder is one blob, whatever its size."""
        grown = bytearray(size_bytes)
        grown[: self._position] = self._view[: self._position]
        self._free_buffer()
        self._buffer, self._view = grown, memoryview(grown)

    def _free_buffer(self) -> None:
        if isinstance(self._buffer, int):
            self._plan.free_packs.put(self._buffer)

    def _append_header(self) -> int:
        """Write header and trailer behind the blobs; the length of the whole pack.

        The header is always opened again: it is small, and without it a lost index cannot be made anew.
        """
        blobs = [PackedBlob(self._kind, *place) for place in self._places]
        end = self._position + self._box.seal_into(encode_header(blobs), self._view[self._position :])
        sealed = self._view[self._position : end]
        try:
            is_sound = self._opener.box.open(sealed) == encode_header(blobs)
        except IntegrityError:
            is_sound = False
        if not is_sound:
            raise IntegrityError(
                "the header of a pack was damaged while it was encrypted, and nothing of the pack was uploaded. "
                "Test this machine's memory and processor."
            )
        self._view[end : end + TRAILER_SIZE] = encode_trailer(len(sealed))
        return end + TRAILER_SIZE

    def _verify_added(self) -> None:
        """Verify what was added since the last time."""
        self._verify(self._unverified)  # where that fails they stay, so that the pack is never taken
        self._unverified, self._unverified_bytes = [], 0

    def _verify(self, places: Sequence[Place]) -> None:
        """Open sealed blobs again and compare; the hash of the pack takes in meanwhile what it has not yet."""
        if not self._plan.verify or not places:
            return
        view = self._view
        sealed = [(view[start : start + length], blob_id, plain) for blob_id, start, length, plain in places]
        opened = self._opener.open_beside(sealed, self._hash, view[self._hashed_end : self._position])
        self._hashed_end = self._position
        for (blob_id, *_), error in zip(places, opened, strict=True):
            if isinstance(error, IntegrityError):
                raise IntegrityError(
                    f"blob {short(blob_id)} was damaged while it was compressed or encrypted, and nothing of it was "
                    f"uploaded: {error}. Test this machine's memory and processor."
                ) from error
