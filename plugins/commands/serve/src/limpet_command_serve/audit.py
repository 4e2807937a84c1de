"""The audit log: one JSON line for each request, written beside the event loop.

A disk that is full does not stop the server: the lines that could not be written are counted, it is told once, and
the first line that can be written again is preceded by one that says how many are missing.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limpet.errors import UsageError

MOST_WAITING = 100_000
"""Lines kept in memory while the disk does not take them."""
MODE = 0o640
END_LIMIT_S = 5.0
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request. No header and no query is in it: nothing that could hold a secret."""

    time_s: float
    user: str
    client: str
    repository: str
    method: str
    kind: str
    """The kind of file, or the name of what is no file: `repository`, `metrics`, `healthz`, empty for nonsense."""
    name: str
    status: int
    received_bytes: int
    sent_bytes: int
    duration_s: float
    reason: str = ""
    """Why it was refused."""
    path: str = ""
    """Where it names nothing that there is."""

    def encode(self) -> bytes:
        """One line of JSON."""
        fields: dict[str, object] = {
            "time": _written(self.time_s),
            "user": self.user,
            "client": self.client,
            "repository": self.repository,
            "method": self.method,
            "kind": self.kind,
            "id": self.name,
            "status": self.status,
            "bytes_received": self.received_bytes,
            "bytes_sent": self.sent_bytes,
            "duration_s": round(self.duration_s, 6),
        }
        if self.reason:
            fields["reason"] = self.reason
        if self.path:
            fields["path"] = self.path
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


class AuditLog:
    """Appends lines to a file, in a thread of its own. `reopen` on SIGHUP, for those who rotate logs.

    The path `-` is standard output, which is the same for ever.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._queue: queue.SimpleQueue[AuditEntry | Callable[[], None] | None] = queue.SimpleQueue()
        self._dropped = 0
        """By the event loop, where too many wait."""
        self._failed = 0
        """By the thread, where the disk does not take them."""
        self._confessed = 0
        """How many of both the log tells of."""
        self._is_failing = False
        self._is_line_open = False
        self._descriptor = -1
        try:
            self._open()
        except OSError as error:
            raise UsageError(f"cannot write the audit log {path}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write_all, name="limpet-serve-audit", daemon=True)
        self._thread.start()

    @property
    def lost_lines(self) -> int:
        """Lines that could not be written so far and are not told of in the log yet."""
        return self._dropped + self._failed - self._confessed

    def add(self, entry: AuditEntry) -> None:
        """Have the line written soon; never waits."""
        if self._queue.qsize() >= MOST_WAITING:
            self._dropped += 1
            return
        self._queue.put(entry)

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

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, AuditEntry):
                self._write(item.encode())
            else:
                item()

    def _write(self, line: bytes) -> None:
        lost = self.lost_lines
        prefix = b"\n" if self._is_line_open else b""
        if lost:
            prefix += b'{"time":"%s","lost_lines":%d}\n' % (_written(time.time()).encode(), lost)
        try:
            if self._descriptor < 0:
                self._open()
            self._append(prefix + line)
        except OSError as error:
            self._failed += 1
            if not self._is_failing:
                self._is_failing = True
                self._tell(f"cannot write the audit log {self._path}: {error.strerror}; the server goes on without it")
            return
        self._confessed += lost
        if self._is_failing:
            self._is_failing = False
            self._tell(f"the audit log {self._path} is written again, {lost} lines are missing")

    def _append(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        self._is_line_open = True
        while written < len(data):
            written += os.write(self._descriptor, data[written:])
        self._is_line_open = False

    def _open(self) -> None:
        if str(self._path) == STANDARD_OUTPUT:
            self._descriptor = os.dup(1)
            return
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)

    def _reopen(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._is_line_open = False
        try:
            self._open()
        except OSError as error:
            self._tell(f"cannot open the audit log {self._path} again: {error.strerror}; it is tried at every line")


def _written(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
