"""Refuses uploads for which there is no room: 507, before the first byte where the client says how many come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from limpet.contracts.backend import FileKind

from limpet_command_serve.aside import aside
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.metrics import Family
from limpet_command_serve.policy import Policy, UploadGuard
from limpet_command_serve.quota import Limits, QuotaError, Reservation, Usage, count_folder
from limpet_command_serve.rights import Action
from limpet_command_serve.rights_file import UserRights

LOOK_AGAIN_S = 0.05
"""While uploads end that nobody counts."""


class QuotaPolicy(Policy):
    """Counts what is there when the first limit is known; uploads and removals wait for that, readers do not.

    Users may be given quotas while the server runs. `keeps` tells for which files a removal frees nothing yet.
    """

    def __init__(
        self,
        root: Path,
        usage: Usage,
        *,
        instance_bytes: int | None,
        repository_bytes: int | None,
        user_bytes: int | None,
        rights: UserRights | None,
        keeps: Callable[[FileKind], bool],
    ) -> None:
        self._root = root
        self._usage = usage
        self._instance_bytes = instance_bytes
        self._repository_bytes = repository_bytes
        self._user_bytes = user_bytes
        self._rights = rights
        self._keeps = keeps
        self._counting: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._untracked = 0
        """Uploads that began when there was no limit."""

    async def start(self) -> None:
        if self._is_limited():
            self._counting = asyncio.create_task(self._count())

    async def close(self) -> None:
        if self._counting is not None:
            self._counting.cancel()

    async def admit(self, exchange: Exchange) -> None:
        if exchange.action not in {Action.WRITE, Action.REMOVE}:
            return
        if self._counting is None and self._is_limited():
            self._counting = asyncio.create_task(self._count())
        if self._counting is not None:
            await asyncio.shield(self._counting)

    def begin_upload(self, exchange: Exchange, size_bytes: int | None) -> UploadGuard | None:
        target = exchange.target
        if target is None or target.kind is None:
            return None
        if self._counting is None:
            return _Untracked(self._track)
        try:
            reservation = Reservation(self._usage, target.folders, self._limits(exchange.user), target.kind, size_bytes)
        except QuotaError as error:
            raise Refusal(507, str(error)) from error
        return _Guard(reservation)

    def answered(self, exchange: Exchange) -> None:
        target = exchange.target
        if self._counting is None or not exchange.removed_bytes or target is None or target.kind is None:
            return
        if not self._keeps(target.kind):
            self._usage.add(target.folders, -exchange.removed_bytes)

    def families(self) -> Iterable[Family]:
        """What is stored and how much may be, for the metrics."""
        yield Family(
            "limpet_serve_stored_bytes",
            "Bytes stored, by repository",
            "gauge",
            {(("repo", "/".join(folders)),): size for folders, size in self._usage.by_repository().items()},
        )
        limits = {
            "instance": self._instance_bytes,
            "repository": self._repository_bytes,
            "user": self._user_bytes,
        }
        yield Family(
            "limpet_serve_quota_bytes",
            "Bytes that may be stored, of the whole instance, one repository, one user",
            "gauge",
            {(("scope", scope),): limit for scope, limit in limits.items() if limit is not None},
        )

    async def _count(self) -> None:
        while self._untracked:
            await asyncio.sleep(LOOK_AGAIN_S)
        await aside(lambda: count_folder(self._root, self._usage))

    def _track(self, change: int) -> None:
        with self._lock:
            self._untracked += change

    def _is_limited(self) -> bool:
        own = () if self._rights is None else (rights.quota_bytes for rights in self._rights.all().values())
        limits = (self._instance_bytes, self._repository_bytes, self._user_bytes, *own)
        return any(limit is not None for limit in limits)

    def _limits(self, user: str) -> Limits:
        own = None if self._rights is None else self._rights.of(user).quota_bytes
        return Limits(self._instance_bytes, self._repository_bytes, self._user_bytes if own is None else own)


class _Untracked:
    """An upload while there is no limit: only that it is there counts."""

    def __init__(self, track: Callable[[int], None]) -> None:
        self._track = track
        track(1)

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        self._track(-1)

    def count(self, size_bytes: int) -> None:
        return

    def keep(self, size_bytes: int) -> None:
        return


class _Guard:
    """A reservation whose refusals are answers."""

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        self._reservation.__exit__()

    def count(self, size_bytes: int) -> None:
        try:
            self._reservation.count(size_bytes)
        except QuotaError as error:
            raise Refusal(507, str(error)) from error

    def keep(self, size_bytes: int) -> None:
        self._reservation.keep(size_bytes)
