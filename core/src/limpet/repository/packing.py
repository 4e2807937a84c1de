"""The parent's end of the pipeline: packs are saved, then the index that names them."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from limpet.contracts.backend import Content, FileKind, Handle
from limpet.errors import LimpetError
from limpet.format.indexfile import MAX_BLOBS
from limpet.format.pack import BlobKind, PackedBlob
from limpet.ids import StorageId
from limpet.repository.repository import Repository
from limpet.repository.sealing import FinishedPack, FreePacks, Place
from limpet.repository.workers import SharedBuffers

INDEX_AGE_S = 600.0
"""An index file is written at least so often, so that an interrupted backup loses little."""


_PLACE = struct.Struct("<32sIII")  # id, offset, length, plain length


@dataclass(slots=True)
class StoredCounts:
    """What a run has added: numbers of blobs, bytes before and after compression and encryption."""

    data_blobs: int = 0
    tree_blobs: int = 0
    added_bytes: int = 0
    packed_bytes: int = 0


class PackStore:
    """Saves finished packs in threads and writes index files on the way. Errors come out of `check` and `flush`."""

    def __init__(
        self,
        repository: Repository,
        packs: SharedBuffers,
        free_packs: Mapping[BlobKind, FreePacks],
        *,
        index_blobs: int | None = None,
    ) -> None:
        self._repository = repository
        self._index_blobs = index_blobs or MAX_BLOBS
        self._packs = packs
        self._free_packs = free_packs
        self._threads = ThreadPoolExecutor(max(1, repository.backend.properties.connections), "limpet-save")
        self._saving: set[Future[None]] = set()
        self._unindexed: list[tuple[StorageId, _CompactBlobs]] = []
        self._unindexed_blobs = 0
        self._indexed_at = time.monotonic()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._abandoned = False
        self.counts = StoredCounts()

    def save(self, pack: FinishedPack) -> None:
        """Save the pack in the background; its buffer becomes free afterwards. Dropped once the run is abandoned."""
        with self._lock:
            future = None if self._abandoned else self._threads.submit(self._save, pack)
            if future is not None:
                self._saving.add(future)
        if future is None:
            self._free(pack)
        else:
            future.add_done_callback(partial(self._saved, pack))

    def check(self) -> None:
        """Raise what went wrong in the background, if anything did."""
        if self._error is not None:
            raise self._error

    def flush(self) -> None:
        """Wait until every pack is stored, and store the index that names the last of them."""
        self._wait()
        self.check()
        self._packs.discard()  # nothing is in them any more, and an index file takes memory of its own
        self._save_index()

    def abandon(self) -> None:
        """After an error or Ctrl-C: no new packs, but those already stored get their index, if it can be saved."""
        with self._lock:
            self._abandoned = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        with suppress(LimpetError):  # what ended the run is the error to tell
            self._save_index()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _wait(self) -> None:
        while True:
            with self._lock:
                waiting = next(iter(self._saving), None)
            if waiting is None:
                return
            waiting.exception()

    def _saved(self, pack: FinishedPack, future: Future[None]) -> None:
        if future.cancelled():
            self._free(pack)
        elif (error := future.exception()) is not None:
            self._error = self._error or error
        with self._lock:
            self._saving.discard(future)

    def _save(self, pack: FinishedPack) -> None:
        try:
            handle = Handle(FileKind.PACK, pack.pack_id.hex(), is_tree_pack=pack.kind is BlobKind.TREE)
            view = memoryview(pack.buffer) if isinstance(pack.buffer, bytearray) else self._packs.view(pack.buffer)
            self._repository.backend.save(handle, Content(view[: pack.length_bytes], pack.pack_id))
        finally:
            self._free(pack)
        if self._remember(pack):
            self._save_index()

    def _free(self, pack: FinishedPack) -> None:
        """Let a worker have the pack's buffer; also where the pack was not saved, for one may wait for it."""
        if isinstance(pack.buffer, int):
            self._free_packs[pack.kind].put(pack.buffer)

    def _remember(self, pack: FinishedPack) -> bool:
        """Note a stored pack for the index; True if an index file should be written now."""
        blobs = pack.blobs
        with self._lock:
            self._unindexed.append((pack.pack_id, _CompactBlobs(pack.kind, pack.places)))
            self._unindexed_blobs += len(blobs)
            counts = self.counts
            if pack.kind is BlobKind.DATA:
                counts.data_blobs += len(blobs)
            else:
                counts.tree_blobs += len(blobs)
            counts.added_bytes += sum(blob.data_length_bytes for blob in blobs)
            counts.packed_bytes += sum(blob.length_bytes for blob in blobs)
            return self._unindexed_blobs >= self._index_blobs or time.monotonic() - self._indexed_at > INDEX_AGE_S

    def _save_index(self) -> None:
        with self._lock:
            packs, self._unindexed = self._unindexed, []
            self._unindexed_blobs = 0
            self._indexed_at = time.monotonic()
        if not packs:
            return
        try:
            self._repository.save_index(packs)
        except LimpetError:
            with self._lock:  # for the next try: without an index the packs would be stored in vain
                self._unindexed += packs
            raise


class _CompactBlobs:
    """The blobs of a pack in 44 bytes each, for they wait in their thousands; as objects they have five times that."""

    def __init__(self, kind: BlobKind, places: Iterable[Place]) -> None:
        self._kind = kind
        self._packed = b"".join(_PLACE.pack(*place) for place in places)

    def __iter__(self) -> Iterator[PackedBlob]:
        for place in _PLACE.iter_unpack(self._packed):
            yield PackedBlob(self._kind, *place)
