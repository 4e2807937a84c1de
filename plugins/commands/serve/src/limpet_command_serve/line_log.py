"""Logs of one line for each request, written in a thread of their own: a disk or a pipe that hangs stops nobody.

While it is full or hangs, lines are dropped beyond a number of bytes rather than fill the memory, and counted.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from limpet.errors import UsageError

MOST_WAITING_BYTES = 32 << 20
"""Of lines in memory while the disk does not take them."""
END_LIMIT_S = 5.0
STANDARD_OUTPUT = "-"


class LineLog:
    """Appends lines to a file. `reopen` on SIGHUP, for those who rotate logs.

    The path `-` is standard output, which is the same for ever. UsageError where it cannot be opened.
    """

    def __init__(self, path: str, tell: Callable[[str], None], *, name: str, mode: int) -> None:
        """`name` is what the log is called in messages."""
        self._path = path
        self._tell = tell
        self._name = name
        self._mode = mode
        self._queue: queue.SimpleQueue[bytes | Callable[[], None] | None] = queue.SimpleQueue()
        self._added_bytes = 0
        """By who adds; what of it is done is counted by the thread alone."""
        self._done_bytes = 0
        self._dropped = 0
        """Lines that were never added, for too many wait."""
        self._failed = 0
        """Lines that the disk did not take."""
        self._confessed = 0
        """How many of both the log tells of."""
        self._missing = 0
        """How many of those nobody was told of on the server's own log yet."""
        self._is_failing = False
        self._is_line_open = False
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise UsageError(f"cannot write the {name} {path}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write_all, name="limpet-serve-log", daemon=True)
        self._thread.start()

    @property
    def lost_lines(self) -> int:
        """Lines that could not be written so far and are not told of yet."""
        return self._dropped + self._failed - self._confessed

    def add_line(self, line: bytes) -> None:
        """Have it written soon, with its end; never waits. One thread adds."""
        if self._added_bytes - self._done_bytes > MOST_WAITING_BYTES:
            self._dropped += 1
            return
        self._added_bytes += len(line)
        self._queue.put(line)

    def reopen(self) -> None:
        """Go on in the file that has the log's name now; lines added before this still go where they went."""
        self._queue.put(self._reopen)

    def close(self) -> None:
        """Write what is waiting, and end the thread. A disk that hangs is not waited for. Idempotent."""
        self._queue.put(None)
        self._thread.join(END_LIMIT_S)
        if self._descriptor >= 0 and not self._thread.is_alive():
            os.close(self._descriptor)
            self._descriptor = -1

    def confession(self, _lost_lines: int) -> bytes:
        """The line that tells in the log itself how many are missing before it, if the log has any for that."""
        return b""

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, bytes):
                self._write(item)
                self._done_bytes += len(item)
            else:
                item()

    def _write(self, line: bytes) -> None:
        lost = self.lost_lines
        prefix = b"\n" if self._is_line_open else b""
        if lost:
            prefix += self.confession(lost)
        try:
            if self._descriptor < 0:
                self._open()
            self._append(prefix + line)
        except OSError as error:
            self._failed += 1
            if not self._is_failing:
                self._is_failing = True
                self._tell(f"cannot write the {self._name} {self._path}: {error.strerror}; the server goes on without")
            return
        self._confessed += lost
        self._missing += lost
        if self._missing and self._done_bytes + len(line) == self._added_bytes:  # nothing waits any more
            self._tell(f"the {self._name} {self._path} is written again, {self._missing} lines are missing")
            self._missing, self._is_failing = 0, False

    def _append(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        self._is_line_open = True
        while written < len(data):
            written += os.write(self._descriptor, data[written:])
        self._is_line_open = False

    def _open(self) -> None:
        if self._path == STANDARD_OUTPUT:
            self._descriptor = os.dup(1)
            return
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, self._mode)

    def _reopen(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._is_line_open = False
        try:
            self._open()
        except OSError as error:
            self._tell(f"cannot open the {self._name} {self._path} again: {error.strerror}; it is tried at every line")
