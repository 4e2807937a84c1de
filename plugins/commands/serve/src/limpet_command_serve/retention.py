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

from limpet_command_serve.rights_file import UserRights

DAY_S = 86_400
MOST_DAYS = 36_500
"""Dates end somewhere."""
_FOREVER = frozenset({FileKind.CONFIG, FileKind.KEY})


class RetentionError(Exception):
    """It has to stay; the message says how long, and is for the client."""


class RetentionDays:
    """How long the lock is for whom: the server's days, or the user's own where they are more."""

    def __init__(self, server_days: int, rights: UserRights | None) -> None:
        self._server_days = server_days
        self._rights = rights

    def of(self, user: str) -> int:
        """The days of this user; 0 for no lock."""
        own = None if self._rights is None else self._rights.of(user).retention_days
        return min(MOST_DAYS, max(self._server_days, own or 0))

    def longest(self) -> int:
        """The most that anybody has now: so long is kept what is removed now."""
        own = () if self._rights is None else (rights.retention_days or 0 for rights in self._rights.all().values())
        return min(MOST_DAYS, max(self._server_days, *own, 0))

    def keeps(self, kind: FileKind) -> bool:
        """Whether a file of this kind that somebody removes is kept aside."""
        return kind is not FileKind.LOCK and self.longest() > 0


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
