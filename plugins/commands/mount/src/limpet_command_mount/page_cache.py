"""Hands whole blobs to the kernel's page cache: who reads here and there in a file then needs us no more for them."""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, Full, Queue

import pyfuse3
import trio
from limpet.operations.browse import FileReader
from pyfuse3 import InodeT

PAGE_SIZE = 4096
QUEUED = 8
"""Blobs that wait to be handed over; what comes on top is left out."""


class PageCache:
    """A thread of its own: the kernel may make it wait for an answer of ours, so no answer may wait for it."""

    def __init__(self) -> None:
        self._blobs: Queue[tuple[InodeT, FileReader, int] | None] = Queue(QUEUED)
        self._has_ended = trio.Event()

    def start(self) -> None:
        """Begin to hand over; in the loop that answers."""
        token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._work, args=(token,), name="limpet-pages", daemon=True).start()

    def offer(self, inode: InodeT, reader: FileReader, offset_bytes: int) -> None:
        """Hand over the blob that holds the byte, if it is still at hand and there is time for it."""
        try:
            self._blobs.put_nowait((inode, reader, offset_bytes))
        except Full:
            return

    async def close(self) -> None:
        """Hand over nothing more, and return when the thread has ended.

        Requests must be answered until then: the kernel keeps the pages locked that it has asked us for.
        """
        while True:
            try:
                self._blobs.put_nowait(None)
                break
            except Full:
                with suppress(Empty):
                    self._blobs.get_nowait()
        await self._has_ended.wait()

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while (offered := self._blobs.get()) is not None:
            inode, reader, offset = offered
            found = reader.blob_at_hand(offset)
            if found is not None:
                _store(inode, *found, reader.size_bytes)
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._has_ended.set)


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
