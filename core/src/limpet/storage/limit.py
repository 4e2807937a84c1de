"""Holds the traffic of each direction below a rate: `--limit-upload`, `--limit-download`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from limpet.contracts.backend import Backend, Content, Handle
from limpet.errors import BackendError, UsageError
from limpet.storage.wrapping import WrappingBackend

BURST_S = 1.0
"""What may pass at once after a pause, as seconds of the rate; restic's figure."""
LEAST_PIECE_BYTES = 64 * 1024


class TokenBucket:
    """Lets `rate_bps` bytes a second pass, over all threads together."""

    def __init__(
        self,
        rate_bps: float,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if rate_bps <= 0:
            raise UsageError(f"a rate limit must be above 0, not {rate_bps}")
        self.rate_bps = rate_bps
        self._now = now
        self._sleep = sleep
        self._lock = threading.Lock()
        self._paid_until = now() - BURST_S

    def take(self, size_bytes: int) -> bool:
        """Wait until these bytes may pass; whether that took any time. Who asks first goes first."""
        with self._lock:
            now = self._now()
            self._paid_until = max(self._paid_until, now - BURST_S) + size_bytes / self.rate_bps
            wait_s = self._paid_until - now
        if wait_s <= 0:
            return False
        self._sleep(wait_s)
        return True


class LimitBackend(WrappingBackend):
    """Rates in bytes a second, None for no limit.

    Ranges are paced within: they are loaded in pieces of about a second. Uploads, and downloads of whole files,
    are paced between files: a backend moves a file as a whole, so one goes at full speed and the next one waits.
    """

    def __init__(
        self,
        inner: Backend,
        upload_bps: float | None = None,
        download_bps: float | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(inner)
        self._interrupted = threading.Event()
        sleep = sleep or self._interrupted.wait
        self._upload = TokenBucket(upload_bps, now=now, sleep=sleep) if upload_bps else None
        self._download = TokenBucket(download_bps, now=now, sleep=sleep) if download_bps else None

    def around(self, other: Backend) -> LimitBackend:
        """Another backend held to these rates together with this one: what one takes, the other waits for."""
        limited = LimitBackend(other)
        limited._upload, limited._download = self._upload, self._download
        limited._interrupted = self._interrupted
        return limited

    def interrupt(self) -> None:
        self._interrupted.set()
        super().interrupt()

    def save(self, handle: Handle, content: Content) -> None:
        if self._upload is not None:
            self._wait(self._upload, content.size_bytes)
        super().save(handle, content)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        if self._download is None:
            return super().load(handle, offset_bytes, length_bytes)
        if length_bytes is None:  # in one call: in pieces it might be mixed from a file and its replacement
            data = super().load(handle, offset_bytes)
            self._wait(self._download, len(data))
            return data
        pieces = [self.inner.load(handle, start, size) for start, size in self._paced(offset_bytes, length_bytes)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        for start, size in self._paced(offset_bytes, buffer.nbytes):
            position = start - offset_bytes
            self.inner.load_into(handle, start, buffer[position : position + size])

    def _paced(self, offset_bytes: int, length_bytes: int) -> Iterator[tuple[int, int]]:
        """The range in pieces, each handed out when it may be loaded; at least one, so that errors show."""
        if self._download is None or length_bytes == 0:
            yield offset_bytes, length_bytes
            return
        piece_bytes = max(LEAST_PIECE_BYTES, int(self._download.rate_bps * BURST_S))
        end = offset_bytes + length_bytes
        for start in range(offset_bytes, end, piece_bytes):
            size = min(piece_bytes, end - start)
            self._wait(self._download, size)
            yield start, size

    def _wait(self, bucket: TokenBucket, size_bytes: int) -> None:
        if bucket.take(size_bytes) and self._interrupted.is_set():
            raise BackendError("interrupted while waiting for the rate limit", permanent=True)
