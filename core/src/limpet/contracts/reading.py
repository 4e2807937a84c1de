"""A stream over a descriptor whose waiting read can be ended from another thread."""

from __future__ import annotations

import io
import os
import select
import threading
from typing import BinaryIO

from limpet.errors import SourceError

BUFFER_SIZE = 1 << 20
_CAN_WAIT = hasattr(select, "poll")  # Not on Windows, where only sockets can be waited for.


class StoppableReader(io.RawIOBase):
    """Reads a descriptor until its end. Counts what it read; `stop` makes a waiting read fail at once."""

    def __init__(self, descriptor: int, name: str, *, owns_descriptor: bool) -> None:
        super().__init__()
        self.bytes_read = 0
        self.at_end = False
        self._descriptor = descriptor
        self._name = name
        self._owns_descriptor = owns_descriptor
        self._stopped = threading.Event()
        self._closing = threading.Lock()
        """A descriptor closed before it is written to may be another file's by then: one of the repository's."""
        self._wake_read, self._wake_write = os.pipe() if _CAN_WAIT else (-1, -1)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Bytes read into `buffer`, 0 at the end; OSError where the stream ends without a single byte, as restic."""
        if self.at_end:
            return 0
        if _CAN_WAIT:
            self._wait()
        if self._stopped.is_set():
            raise SourceError(f"reading {self._name} was stopped")
        count = os.readv(self._descriptor, [buffer]) if hasattr(os, "readv") else self._read_copy(buffer)
        self.bytes_read += count
        self.at_end = count == 0
        if not self.bytes_read:
            raise OSError(f"read {self._name}: no data read")
        return count

    def stop(self) -> None:
        """End a read that waits in another thread; later reads fail too. Idempotent."""
        with self._closing:
            if not self._stopped.is_set() and not self.closed:
                self._stopped.set()
                if _CAN_WAIT:
                    os.write(self._wake_write, b"!")

    def close(self) -> None:
        """Close the pipes, and the descriptor if it is ours."""
        with self._closing:
            if self.closed:
                return
            super().close()
            owned = [self._wake_read, self._wake_write] if _CAN_WAIT else []
            if self._owns_descriptor:
                owned.append(self._descriptor)
            for descriptor in owned:
                os.close(descriptor)

    def buffered(self) -> BinaryIO:
        """This reader behind a buffer, so that a read of N bytes returns N bytes unless the end is near."""
        return io.BufferedReader(self, BUFFER_SIZE)

    def _wait(self) -> None:
        waiting = select.poll()  # Not select(): a backup may have more than 1024 files open.
        waiting.register(self._descriptor, select.POLLIN)
        waiting.register(self._wake_read, select.POLLIN)
        waiting.poll()

    def _read_copy(self, buffer: memoryview) -> int:
        data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)
