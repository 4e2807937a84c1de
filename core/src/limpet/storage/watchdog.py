"""Gives up calls that hang: for backends whose client library knows no time limit, `--stuck-request-timeout`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from limpet.contracts.backend import Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError
from limpet.storage.wrapping import WrappingBackend

T = TypeVar("T")

LEAST_RATE_BPS = 16 * 1024
"""From outside nobody sees bytes move, so a call has, besides the time limit, what its bytes take at this rate."""
WHOLE_FILE_BYTES = 8 * 1024 * 1024
"""What a file is taken for whose size is not known: a large index. To ask for it would cost a request each time."""
LISTED_AHEAD = 1000
"""Entries of a listing that may wait for the reader."""


class WatchdogBackend(WrappingBackend):
    """A call without an answer in time ends in a transient BackendError, so that the retry wrapper tries again.

    The call itself cannot be stopped. It goes on in its thread until the library lets go of it, and works on bytes of
    its own meanwhile, never in a buffer that the caller has back by then.
    """

    def __init__(self, inner: Backend, timeout_s: float) -> None:
        super().__init__(inner)
        self._timeout_s = timeout_s

    def create(self) -> None:
        self._watch("create", super().create)

    def save(self, handle: Handle, content: Content) -> None:
        own = Content(memoryview(bytes(content.data)), content.sha256)
        self._watch(f"save {handle}", lambda: self.inner.save(handle, own), own.size_bytes)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        def work() -> bytes:
            return self.inner.load(handle, offset_bytes, length_bytes)

        return self._watch(f"load {handle}", work, WHOLE_FILE_BYTES if length_bytes is None else length_bytes)

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        buffer[:] = self.load(handle, offset_bytes, buffer.nbytes)

    def stat(self, handle: Handle) -> FileInfo:
        return self._watch(f"stat {handle}", lambda: self.inner.stat(handle))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        """The time limit holds for each entry anew."""
        listing = _Listing(self.inner, kind)
        try:
            while True:
                try:
                    found = listing.entries.get(timeout=self._timeout_s)
                except queue.Empty:
                    raise self._stuck(f"list {kind.value}", self._timeout_s) from None
                if found is None:
                    return
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            listing.stopped = True

    def remove(self, handle: Handle) -> None:
        self._watch(f"remove {handle}", lambda: self.inner.remove(handle))

    def delete(self) -> None:
        """As long as it takes: how much there is to remove is not known."""
        super().delete()

    def _watch(self, what: str, work: Callable[[], T], size_bytes: int = 0) -> T:
        results: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                results.put((work(), None))
            except BaseException as error:  # whatever it is belongs to the caller's thread
                results.put((None, error))

        threading.Thread(target=run, name=what, daemon=True).start()
        limit_s = self._timeout_s + size_bytes / LEAST_RATE_BPS
        try:
            result, error = results.get(timeout=limit_s)
        except queue.Empty:
            raise self._stuck(what, limit_s) from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # no error, so it is a T

    def _stuck(self, what: str, limit_s: float) -> BackendError:
        return BackendError(
            f"{what}: no answer from {self.location} for {round(limit_s, 1):g}s, the request is given up"
        )


class _Listing:
    """One listing, read ahead in a thread of its own until its reader is gone. None in `entries` is the end."""

    def __init__(self, inner: Backend, kind: FileKind) -> None:
        self.entries: queue.Queue[FileInfo | BaseException | None] = queue.Queue(LISTED_AHEAD)
        self.stopped = False
        self._inner = inner
        self._kind = kind
        threading.Thread(target=self._run, name=f"list {kind.value}", daemon=True).start()

    def _run(self) -> None:
        try:
            for info in self._inner.list(self._kind):
                if not self._put(info):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, entry: FileInfo | BaseException | None) -> bool:
        """Whether the reader is still there to take it."""
        while not self.stopped:
            try:
                self.entries.put(entry, timeout=1.0)
            except queue.Full:
                continue
            return True
        return False
