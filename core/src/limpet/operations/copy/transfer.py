"""Brings stored blobs from one repository into packs of another: loaded by threads here, sealed anew by workers.

A pack is read in stretches, one after the other, each into a buffer that the workers share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError
from limpet.format.chunker import MAX_SIZE
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.copy.needs import NeededRange, StoredBlob
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.repository.sealing import Sealer
from limpet.repository.workers import usable_cpus

WINDOW_BYTES = MAX_SIZE + 64 * 1024
"""Room for the largest chunk, sealed."""
READ_BYTES = 1024 * 1024
"""How much is read at once, unless a single blob is larger: what is not touched of a window costs no memory."""
SPARE_WINDOWS = 1
"""Filled by the parent while every worker has one."""


def transfer_saver(source: Repository, destination: Repository) -> BlobSaver:
    """A saver of the destination whose workers can open the source's blobs. Forks: before any thread is made."""
    count = usable_cpus() + SPARE_WINDOWS
    return BlobSaver(destination, window_count=count, window_size_bytes=WINDOW_BYTES, source_key=source.key)


class Transfer:
    """Copies blobs, within a repository too. Used by one thread."""

    def __init__(self, source: Repository, saver: BlobSaver) -> None:
        self._source = source
        self._saver = saver
        self._threads = ThreadPoolExecutor(max(1, source.backend.properties.connections), "limpet-load")
        self._changed = threading.Condition()
        self._in_work = 0
        self._error: BaseException | None = None

    def run(self, ranges: Iterable[NeededRange], pack_done: Callable[[], None]) -> None:
        """Return when all blobs are in packs; `pack_done` is called in some thread after the last range of each pack.

        No range is longer than a window, unless for a single blob. Raises why a blob cannot be read from any of its
        places, or not be stored.
        """
        for needed in ranges:
            window = self._saver.windows.acquire()
            self._check()
            with self._changed:
                self._in_work += 1
            self._threads.submit(self._load, needed, window, pack_done if needed.is_last else _nothing)
        with self._changed:
            self._changed.wait_for(lambda: not self._in_work)
        self._check()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        self._saver.check()

    # -- in the threads -----------------------------------------------------------------------------------------

    def _load(self, needed: NeededRange, window: int, pack_done: Callable[[], None]) -> None:
        """Load a range and hand it to a worker."""
        try:
            self._hand_over(needed, window, pack_done)
        except BaseException as error:  # for the thread that waits for us
            self._ended(window, error)

    def _hand_over(self, needed: NeededRange, window: int, pack_done: Callable[[], None]) -> None:
        def resealed(damaged: list[int] | None, error: BaseException | None) -> None:
            if damaged:
                again = needed._replace(blobs=[needed.blobs[number] for number in damaged])
                self._threads.submit(self._recover, again, window, pack_done)
                return
            if error is None:
                pack_done()
            self._ended(window, error)

        handle = Handle(FileKind.PACK, needed.pack_id.hex(), is_tree_pack=needed.kind is BlobKind.TREE)
        source: int | bytes = window
        try:
            if needed.length_bytes <= WINDOW_BYTES:
                view = self._saver.windows.view(window)[: needed.length_bytes]
                self._source.backend.load_into(handle, needed.offset_bytes, view)
            else:  # a single blob larger than any that restic makes
                source = self._source.backend.load(handle, needed.offset_bytes, needed.length_bytes)
        except BackendError:
            self._recover(needed, window, pack_done)
            return
        self._saver.submit_for(needed.kind, reseal_blobs, resealed, source, needed.offset_bytes, needed.blobs)

    def _recover(self, needed: NeededRange, window: int, pack_done: Callable[[], None]) -> None:
        """Fetch blobs one by one, from any of their places: one bad spot must not cost its neighbours."""
        try:
            for *_, blob_id in needed.blobs:
                self._seal(needed.kind, self._source.load_blob(needed.kind, BlobId(blob_id)))
        except BaseException as error:  # for the thread that waits for us
            self._ended(window, error)
            return
        pack_done()
        self._ended(window, None)

    def _seal(self, kind: BlobKind, data: bytes) -> None:
        """Have a worker seal the plaintext, and wait for it."""
        ended: Future[None] = Future()

        def sealed(_: object, error: BaseException | None) -> None:
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        self._saver.submit_for(kind, Sealer.store_again, sealed, data)
        ended.result()

    def _ended(self, window: int, error: BaseException | None) -> None:
        self._saver.windows.release(window)
        with self._changed:
            self._error = self._error or error
            self._in_work -= 1
            self._changed.notify_all()


def reseal_blobs(sealer: Sealer, source: int | bytes, start: int, blobs: Sequence[StoredBlob]) -> list[int]:
    """Seal the blobs of a loaded range anew; the numbers of those that are damaged."""
    view = sealer.window(source) if isinstance(source, int) else memoryview(source)
    reseal = sealer.reseal
    return [
        number
        for number, (offset, length, plain_length, blob_id) in enumerate(blobs)
        if not reseal(view[offset - start : offset - start + length], BlobId(blob_id), plain_length)
    ]


def _nothing() -> None:
    return
