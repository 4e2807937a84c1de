"""Refuses uploads for which there is no room: 507, before the first byte where the client says how many come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from limpet_command_serve.aside import aside
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.metrics import Family
from limpet_command_serve.names import Folders
from limpet_command_serve.policy import Policy, RemovalGuard, UploadGuard
from limpet_command_serve.quota import Inventory, Limits, QuotaError, Reservation, Usage
from limpet_command_serve.rights import Action
from limpet_command_serve.rights_file import UserRights
from limpet_command_serve.store import FileStatus


class QuotaPolicy(Policy):
    """Counts what is there when the first limit is known; uploads and removals wait for that, readers do not.

    Users may be given quotas while the server runs. A repository of which the inventory learns later is counted before
    the first change in it.
    """

    def __init__(
        self,
        inventory: Inventory,
        usage: Usage,
        *,
        instance_bytes: int | None,
        repository_bytes: int | None,
        user_bytes: int | None,
        rights: UserRights | None,
    ) -> None:
        self._inventory = inventory
        self._learning = threading.Lock()
        self._usage = usage
        self._instance_bytes = instance_bytes
        self._repository_bytes = repository_bytes
        self._user_bytes = user_bytes
        self._rights = rights
        self._counting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._begin_to_count()

    async def close(self) -> None:
        if self._counting is not None:
            self._counting.cancel()

    async def admit(self, exchange: Exchange) -> None:
        if exchange.action not in {Action.WRITE, Action.REMOVE}:
            return
        self._begin_to_count()
        if self._counting is not None:
            await asyncio.shield(self._counting)

    def begin_upload(self, exchange: Exchange, size_bytes: int | None) -> UploadGuard | None:
        target = exchange.target
        if target is None or target.kind is None:
            return None
        self._learn(target.folders)
        limits = self._limits(exchange.user)
        room = Reservation(self._usage, target.folders, limits, target.kind, size_bytes)
        return _Guard(room, lambda: self._stored(target.folders))

    def removing(self, exchange: Exchange, status: FileStatus) -> RemovalGuard | None:
        if exchange.target is None:
            return None
        self._learn(exchange.target.folders)
        return _Freeing(self._usage, exchange.target.folders)

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

    def _learn(self, folders: Folders) -> None:
        if self._counting is None or not self._inventory.is_new(folders):
            return
        with self._usage.changing(), self._learning:
            if self._inventory.is_new(folders):
                self._usage.add(*self._inventory.of_new(folders))

    def _stored(self, folders: Folders) -> None:
        if self._counting is not None:
            self._inventory.stored(folders)

    def _begin_to_count(self) -> None:
        if self._counting is None and self._is_limited():
            self._counting = asyncio.create_task(self._count())
            self._counting.add_done_callback(self._counted)

    async def _count(self) -> None:
        await aside(lambda: self._usage.count(self._inventory.all))

    def _counted(self, done: asyncio.Task[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._counting = None  # Who waits is told; the next one tries again.

    def _is_limited(self) -> bool:
        own = () if self._rights is None else (rights.quota_bytes for rights in self._rights.all().values())
        limits = (self._instance_bytes, self._repository_bytes, self._user_bytes, *own)
        return any(limit is not None for limit in limits)

    def _limits(self, user: str) -> Limits:
        own = None if self._rights is None else self._rights.of(user).quota_bytes
        return Limits(self._instance_bytes, self._repository_bytes, self._user_bytes if own is None else own)


class _Guard:
    """A reservation whose refusals are answers. `stored` is called when the file is."""

    def __init__(self, reservation: Reservation, stored: Callable[[], None]) -> None:
        self._reservation = reservation
        self._stored = stored

    def __enter__(self) -> object:
        with _refusing():
            return self._reservation.__enter__()

    def __exit__(self, *_: object) -> None:
        self._reservation.__exit__()

    def count(self, size_bytes: int) -> None:
        with _refusing():
            self._reservation.count(size_bytes)

    def keep(self, size_bytes: int) -> None:
        self._reservation.keep(size_bytes)
        self._stored()


class _Freeing:
    """The room that a removal gives back."""

    def __init__(self, usage: Usage, folders: Folders) -> None:
        self._usage = usage
        self._folders = folders
        self._changing = usage.changing()

    def __enter__(self) -> object:
        return self._changing.__enter__()

    def __exit__(self, *_: object) -> None:
        self._changing.__exit__(None, None, None)

    def freed(self, size_bytes: int) -> None:
        self._usage.add(self._folders, -size_bytes)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except QuotaError as error:
        raise Refusal(507, str(error)) from error
