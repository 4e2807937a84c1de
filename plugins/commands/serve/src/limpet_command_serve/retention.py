"""The retention lock: nothing younger than some days goes, whoever asks for it.

The age is by the server's clock and by the time at which the server stored the file; clients set neither. Config and
keys never go while the lock is on: who steals a password must not make the repository unreadable with two requests.
Locks always go. A file that is old enough may still hold data of the newest snapshot, and the server cannot know,
for all is encrypted: so what is removed is kept for as many days again, see `removed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from limpet.contracts.backend import FileKind

DAY_S = 86_400
_FOREVER = frozenset({FileKind.CONFIG, FileKind.KEY})


class RetentionError(Exception):
    """It has to stay; the message says how long, and is for the client."""


@dataclass(frozen=True, slots=True)
class RetentionLock:
    """Nothing younger than `days` may be removed; 0 for no lock."""

    days: int = 0

    def check(self, kind: FileKind, stored_s: float, now_s: float) -> None:
        """Whether a file stored then may be removed now: RetentionError where not. Times are seconds of Unix time."""
        if not self.days or kind is FileKind.LOCK:
            return
        if kind in _FOREVER:
            raise RetentionError(
                f"{kind.value} cannot be removed while the retention lock of {self.days} days is on: "
                f"ask the server's administrator"
            )
        until_s = stored_s + self.days * DAY_S
        if until_s > now_s:
            until = datetime.fromtimestamp(until_s, UTC)
            raise RetentionError(
                f"it is locked for {self.days} days and cannot be removed before {until:%Y-%m-%d %H:%M:%S} UTC"
            )
