"""Hands whole blobs to the kernel's page cache: who reads here and there in a file then needs us no more for them."""

from __future__ import annotations

import threading
import time
from queue import Empty, Full, Queue

import pyfuse3
from limpet.operations.browse import FileReader
from pyfuse3 import InodeT

PAGE_SIZE = 4096
QUEUED = 8
"""Blobs that wait to be handed over; what comes on top is left out."""


class PageCache:
    """A thread of its own: the kernel may make it wait for an answer of ours, so no answer may wait for it."""

    def __init__(self) -> None:
        self._blobs: Queue[tuple[InodeT, FileReader, int] | None] = Queue(QUEUED)
        self._thread = threading.Thread(target=self._work, name="limpet-pages", daemon=True)

    def start(self) -> None:
        """Begin to hand over."""
        self._thread.start()

    def offer(self, inode: InodeT, reader: FileReader, offset_bytes: int) -> None:
        """Hand over the blob that holds the byte, if it is still at hand and there is time for it."""
        try:
            self._blobs.put_nowait((inode, reader, offset_bytes))
        except Full:
            return

    def close(self, limit_s: float) -> bool:
        """Hand over nothing more; whether the thread has ended within the limit. The connection must still be there."""
        if not self._thread.is_alive():
            return True
        deadline = time.monotonic() + limit_s
        while True:
            try:
                self._blobs.put_nowait(None)
                break
            except Full:
                try:
                    self._blobs.get_nowait()
                except Empty:
                    continue
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (offered := self._blobs.get()) is not None:
            inode, reader, offset = offered
            found = reader.blob_at_hand(offset)
            if found is not None:
                _store(inode, *found, reader.size_bytes)


def _store(inode: InodeT, begin: int, plaintext: bytes, size: int) -> None:
    """Store the whole pages of the blob; of the last one of a file what there is of it."""
    first = -(-begin // PAGE_SIZE) * PAGE_SIZE
    end = begin + len(plaintext)
    if end < size:
        end = end // PAGE_SIZE * PAGE_SIZE
    if first >= end:
        return
    try:
        # It takes any buffer, whatever its declaration says.
        pyfuse3.notify_store(inode, first, memoryview(plaintext)[first - begin : end - begin])  # type: ignore[arg-type]
    except OSError:
        return  # the kernel has forgotten the file, or has no memory for it
