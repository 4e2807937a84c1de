"""Plaintexts of blobs that all readers of a repository share, in bounded memory, and loaded ahead of them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from limpet.contracts.backend import FileKind, Handle
from limpet.format.native import IndexTable
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, StorageId
from limpet.repository.blob_index import BlobLocation
from limpet.repository.trees import TreeReader

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

CACHE_BYTES = 64 * 1024 * 1024
SMALL_BYTES = 128 * 1024
"""Blobs up to this are loaded with their neighbours in the pack: small files are mostly read one after the other."""
RUN_BYTES = 4 * 1024 * 1024
"""Blobs ahead that adjoin in a pack are loaded in one request up to this."""
JOIN_GAP_BYTES = 64 * 1024
AHEAD_BYTES = 32 * 1024 * 1024
"""So much is loaded ahead at once, for all readers together."""
MOST_THREADS = 8
END_LIMIT_S = 1.0


@dataclass(slots=True)
class _Flight:
    """A blob that is being loaded; None if that has failed, then whoever waits has to find out why."""

    done: threading.Event = field(default_factory=threading.Event)
    plaintext: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """Blobs that lie together in a pack, to be loaded in one request."""

    pack_id: StorageId
    blobs: list[tuple[BlobId, BlobLocation]]

    @property
    def begin(self) -> int:
        return self.blobs[0][1].offset_bytes

    @property
    def end(self) -> int:
        return max(location.offset_bytes + location.length_bytes for _, location in self.blobs)


class Plaintexts:
    """The blobs that were read last, and those to be read next. Thread-safe."""

    def __init__(self, repository: Repository, cache_bytes: int = CACHE_BYTES) -> None:
        self.cache_bytes = cache_bytes
        self._repository = repository
        self._small = TreeReader(
            repository.index, lambda: repository.backend, repository.opener, repository.load_blob, BlobKind.DATA
        )
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlobId, bytes] = OrderedDict()
        self._free_bytes = cache_bytes
        self._flights: dict[BlobId, _Flight] = {}
        self._ahead_bytes = 0
        self._runs: SimpleQueue[_Run | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    @property
    def table(self) -> IndexTable:
        """Where every blob is, as far as the index knows now."""
        return self._repository.index.table

    def kept(self, blob_id: BlobId) -> bytes | None:
        """The plaintext if it is at hand."""
        with self._lock:
            plaintext = self._kept.get(blob_id)
            if plaintext is not None:
                self._kept.move_to_end(blob_id)
            return plaintext

    def at_hand(self, blob_id: BlobId) -> bytes | None:
        """The plaintext if it is at hand, or is a small blob that only has to be opened."""
        plaintext = self.kept(blob_id)
        if plaintext is None:
            plaintext = self._small.read_at_hand(blob_id)
            if plaintext is not None:
                self._landed(blob_id, plaintext)
        return plaintext

    def load(self, blob_id: BlobId) -> bytes:
        """The verified plaintext; waits for the storage. Errors as `Repository.load_blob`."""
        with self._lock:
            plaintext = self._kept.get(blob_id)
            if plaintext is not None:
                self._kept.move_to_end(blob_id)
                return plaintext
            flight = self._flights.get(blob_id)
            mine = None if flight else self._flights.setdefault(blob_id, _Flight())
        if flight is not None:
            flight.done.wait()
            if flight.plaintext is not None:
                return flight.plaintext
        try:
            plaintext = self._load(blob_id)
        finally:
            if mine is not None:
                self._landed(blob_id, plaintext)
        return plaintext

    def load_ahead(self, blob_ids: Sequence[BlobId]) -> None:
        """Begin to load what is neither at hand nor on its way; some or all may be left out. Returns at once."""
        with self._lock:
            if self._is_closed:
                return
            wanted: list[tuple[BlobId, BlobLocation]] = []
            for blob_id in dict.fromkeys(blob_ids):
                if blob_id in self._kept or blob_id in self._flights:
                    continue
                location = self._repository.index.find(BlobKind.DATA, blob_id)
                if location is None:
                    continue
                if self._ahead_bytes + location.length_bytes > AHEAD_BYTES:
                    break
                self._ahead_bytes += location.length_bytes
                self._flights[blob_id] = _Flight()
                wanted.append((blob_id, location))
            self._start_threads(len(wanted))
            for run in _runs(wanted):  # with the lock held: behind what `close` says to the threads nobody would look
                self._runs.put(run)

    def close(self, limit_s: float = END_LIMIT_S) -> None:
        """Load nothing ahead any more, and end the threads, but for those that hang in the storage. Idempotent."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                for _ in self._threads:
                    self._runs.put(None)
        deadline = time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _load(self, blob_id: BlobId) -> bytes:
        location = self._repository.index.find(BlobKind.DATA, blob_id)
        if location is not None and location.length_bytes <= SMALL_BYTES:
            return self._small.read(blob_id)
        return self._repository.load_blob(BlobKind.DATA, blob_id)

    def _landed(self, blob_id: BlobId, plaintext: bytes | None) -> None:
        """The blob was loaded, or not: keep it, and tell those who wait."""
        with self._lock:
            flight = self._flights.pop(blob_id, None)
            if plaintext is not None and blob_id not in self._kept:
                self._kept[blob_id] = plaintext
                self._free_bytes -= len(plaintext)
                while self._free_bytes < 0 and len(self._kept) > 1:
                    _, dropped = self._kept.popitem(last=False)
                    self._free_bytes += len(dropped)
        if flight is not None:
            flight.plaintext = plaintext
            flight.done.set()

    # -- ahead --------------------------------------------------------------------------------------------------

    def _start_threads(self, jobs: int) -> None:
        limit = min(max(2, self._repository.backend.properties.connections), MOST_THREADS)
        while jobs and len(self._threads) < limit:
            thread = threading.Thread(target=self._work, name="limpet-ahead", daemon=True)
            self._threads.append(thread)
            thread.start()
            jobs -= 1

    def _work(self) -> None:
        while (run := self._runs.get()) is not None:
            self._load_run(run)

    def _load_run(self, run: _Run) -> None:
        """Load and open the blobs of a run. What goes wrong shows when somebody wants the blob."""
        sealed: memoryview | None = None
        if not self._is_closed:
            try:
                handle = Handle(FileKind.PACK, run.pack_id.hex())
                sealed = memoryview(self._repository.backend.load(handle, run.begin, run.end - run.begin))
            except Exception:  # whatever it is: who waits for these blobs must not wait for ever
                sealed = None
        for blob_id, location in run.blobs:
            plaintext = None
            if sealed is not None and not self._is_closed:
                begin = location.offset_bytes - run.begin
                try:
                    piece = sealed[begin : begin + location.length_bytes]
                    plaintext = self._repository.opener().open(piece, blob_id, location.plain_length_bytes)
                except Exception:  # as above
                    plaintext = None
            self._landed(blob_id, plaintext)
            with self._lock:
                self._ahead_bytes -= location.length_bytes


def _runs(blobs: Sequence[tuple[BlobId, BlobLocation]]) -> Iterator[_Run]:
    """The blobs in runs, in their order."""
    run: list[tuple[BlobId, BlobLocation]] = []
    for blob_id, location in blobs:
        if run:
            first, last = run[0][1], run[-1][1]
            gap = location.offset_bytes - last.offset_bytes - last.length_bytes
            length = location.offset_bytes + location.length_bytes - first.offset_bytes
            if location.pack_id != first.pack_id or not 0 <= gap <= JOIN_GAP_BYTES or length > RUN_BYTES:
                yield _Run(first.pack_id, run)
                run = []
        run.append((blob_id, location))
    if run:
        yield _Run(run[0][1].pack_id, run)
