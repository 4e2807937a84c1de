"""The audit log: one JSON line for each request, written beside the event loop.

A disk that is full does not stop the server: the lines that could not be written are counted, it is told once, and
the first line that can be written again is preceded by one that says how many are missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limpet_command_serve.line_log import LineLog

MODE = 0o640


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


class AuditLog(LineLog):
    """The log of entries; what was lost is told by a line of its own."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        super().__init__(str(path), tell, name="audit log", mode=MODE)

    def add(self, entry: AuditEntry) -> None:
        """Have the line written soon; never waits."""
        self.add_line(entry.encode())

    def confession(self, lost_lines: int) -> bytes:
        return b'{"time":"%s","lost_lines":%d}\n' % (_written(time.time()).encode(), lost_lines)


def _written(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
