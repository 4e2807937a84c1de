"""Tries again what failed for now: pauses that double, with jitter, for a limited time; permanent errors at once."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from limpet.contracts.backend import Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.progress import Reporter, SilentReporter
from limpet.storage.wrapping import WrappingBackend

T = TypeVar("T")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
JITTER = 0.5
"""A pause is this fraction shorter or longer, so that many clients do not come back all at once."""
LONGEST_RETRY_AFTER_S = 5 * 60.0
"""A server that asks to be left alone for longer is asked again after this time all the same."""
MAX_ELAPSED_S = 15 * 60.0
FAILED_LOAD_EXPIRY_S = 3600.0
"""How long a file that could not be loaded in all that time is refused at once."""


class RetryBackend(WrappingBackend):
    """Repeats calls that end in a transient BackendError, until interrupted or closed. Thread-safe."""

    def __init__(
        self,
        inner: Backend,
        *,
        reporter: Reporter | None = None,
        max_elapsed_s: float = MAX_ELAPSED_S,
        first_pause_s: float = FIRST_PAUSE_S,
        failed_load_expiry_s: float = FAILED_LOAD_EXPIRY_S,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(inner)
        self._reporter = reporter or SilentReporter()
        self._max_elapsed_s = max_elapsed_s
        self._first_pause_s = first_pause_s
        self._failed_load_expiry_s = failed_load_expiry_s
        self._now = now
        self._interrupted = threading.Event()
        self._pause = pause or self._interrupted.wait
        self._failed_loads: dict[Handle, float] = {}

    def interrupt(self) -> None:
        self._interrupted.set()
        super().interrupt()

    def create(self) -> None:
        self._retry("create", super().create)

    def save(self, handle: Handle, content: Content) -> None:
        """Stored, be it by a try whose answer was lost: what is there already counts if it is the same bytes."""
        tries = self._tries(f"save {handle}")
        while True:
            try:
                self.inner.save(handle, content)
            except BackendError as error:
                failure = error
                if tries.count and error.permanent:  # refused: maybe because a try before did reach the store
                    try:
                        if self._is_stored(handle, content):
                            break
                    except BackendError as unknown:
                        failure = error if unknown.permanent else unknown
                tries.failed(failure)
                if not self.inner.properties.atomic_replace and self._clear_the_way(handle, content):
                    break
            else:
                break
        tries.succeeded()

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        def work() -> bytes:
            data = self.inner.load(handle, offset_bytes, length_bytes)
            if length_bytes is not None and len(data) != length_bytes:
                raise BackendError(f"{handle}: {len(data)} bytes came where {length_bytes} were asked for")
            return data

        return self._load(handle, work)

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        self._load(handle, lambda: self.inner.load_into(handle, offset_bytes, buffer))

    def stat(self, handle: Handle) -> FileInfo:
        return self._retry(f"stat {handle}", lambda: self.inner.stat(handle))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        """Each file once, however often the listing had to start over; the caller's errors never come in here."""
        listed: set[str] = set()
        tries = self._tries(f"list {kind.value}")
        files: Iterator[FileInfo] | None = None
        while True:
            try:
                if files is None:
                    files = self.inner.list(kind)
                info = next(files, None)
            except BackendError as error:
                files = None
                tries.failed(error)
                continue
            if info is None:
                tries.succeeded()
                return
            if info.name not in listed:
                listed.add(info.name)
                tries.succeeded()
                yield info

    def remove(self, handle: Handle) -> None:
        tries = self._tries(f"remove {handle}")
        while True:
            try:
                self.inner.remove(handle)
            except MissingFileError:
                if not tries.count:
                    raise
                return  # gone by a try before, whose answer was lost
            except BackendError as error:
                tries.failed(error)
            else:
                tries.succeeded()
                return

    def sweep(self) -> int:
        return self._retry("sweep", super().sweep)

    def delete(self) -> None:
        self._retry("delete", super().delete)

    def close(self) -> None:
        self._interrupted.set()
        super().close()

    def _load(self, handle: Handle, work: Callable[[], T]) -> T:
        failed_at = self._failed_loads.get(handle)
        if failed_at is not None and self._now() - failed_at < self._failed_load_expiry_s:
            raise BackendError(f"{handle} could not be loaded a while ago and is not tried again", permanent=True)
        try:
            return self._retry(f"load {handle}", work)
        except BackendError as error:
            if not error.permanent and not self._interrupted.is_set():
                self._failed_loads[handle] = self._now()
            raise

    def _retry(self, what: str, work: Callable[[], T]) -> T:
        tries = self._tries(what)
        while True:
            try:
                result = work()
            except BackendError as error:
                tries.failed(error)
            else:
                tries.succeeded()
                return result

    def _tries(self, what: str) -> _Tries:
        return _Tries(what, self)

    def _clear_the_way(self, handle: Handle, content: Content) -> bool:
        """Whether the file is stored after all, its answer lost; what is there of it otherwise is removed.

        A config that is not ours stays: it has no hash for a name, so it may be another's.
        """
        try:
            if self._is_stored(handle, content):
                return True
            if handle.kind is not FileKind.CONFIG:
                self.inner.remove(handle)
        except BackendError:
            pass  # there is nothing, or nobody knows: the next try will tell
        return False

    def _is_stored(self, handle: Handle, content: Content) -> bool:
        """Whether just these bytes are under the handle; any BackendError where that cannot be told."""
        return (
            self.inner.stat(handle).size_bytes == content.size_bytes
            and hashlib.sha256(self.inner.load(handle)).digest() == content.sha256
        )


class _Tries:
    """The failed tries of one call."""

    def __init__(self, what: str, backend: RetryBackend) -> None:
        self.count = 0
        self._what = what
        self._backend = backend
        self._first_failure = 0.0
        self._pause_s = backend._first_pause_s

    def failed(self, error: BackendError) -> None:
        """Pause before the next try; raises the error where there shall be none. There is always a second try."""
        backend = self._backend
        if error.permanent or backend._interrupted.is_set():
            raise error
        pause_s = self._next_pause_s(error.retry_after_s)
        now = backend._now()
        if not self.count:
            self._first_failure = now
        elif now - self._first_failure + pause_s > backend._max_elapsed_s:
            raise error
        self.count += 1
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        backend._reporter.warning(f"{self._what} failed, trying again in {pause_s:.1f}s: {error}")
        backend._pause(pause_s)
        if backend._interrupted.is_set():
            raise error

    def _next_pause_s(self, retry_after_s: float | None) -> float:
        """At least what the server asked for, and then not all clients in the same moment."""
        pause_s = self._pause_s * random.uniform(1 - JITTER, 1 + JITTER)
        if retry_after_s is None or not retry_after_s > 0:
            return pause_s
        return max(pause_s, min(retry_after_s, LONGEST_RETRY_AFTER_S) + random.uniform(0, JITTER) * self._pause_s)

    def succeeded(self) -> None:
        """Tell that it worked, if there was something to tell before, and be as new."""
        if self.count:
            tries = "1 more try" if self.count == 1 else f"{self.count} more tries"
            self._backend._reporter.note(f"{self._what} succeeded after {tries}")
            self.count = 0
            self._pause_s = self._backend._first_pause_s
