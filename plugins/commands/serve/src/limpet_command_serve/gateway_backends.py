"""The backends behind a gateway: one for each repository below the location, opened when it is asked for."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from limpet import registry
from limpet.contracts.backend import Backend
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.progress import Reporter
from limpet.storage.limit import LimitBackend
from limpet.storage.memory import MemoryBackend
from limpet.storage.retry import RetryBackend

MOST_OPEN = 32
"""Each has its connections and threads; the one that was not used for longest is closed for another."""
RETRY_S = 10.0
"""Clients try again themselves, for minutes: the gateway bridges over what is short."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9_@+=,-][A-Za-z0-9._@+=,-]*")
"""What no location of any backend reads as anything but a name."""


def is_place(folders: Sequence[str]) -> bool:
    """Whether a repository in these folders can be below a location."""
    return all(map(_SAFE_NAME.fullmatch, folders))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway stores, and how it talks to that place. The options may hold secrets."""

    location: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    transport: Transport = DEFAULT_TRANSPORT
    upload_bps: float | None = None
    download_bps: float | None = None

    def shown(self) -> str:
        """As it may be told to people."""
        return registry.redact(self.location)


@dataclass(slots=True)
class _Opened:
    backend: Backend
    users: int = 0


class GatewayBackends:
    """Backends by the folders of their repository. Thread-safe.

    All share the rates of the place. `open_inner` opens what is at a location.
    """

    def __init__(
        self,
        place: Place,
        reporter: Reporter | None = None,
        *,
        open_inner: Callable[[str, Mapping[str, str], Transport], Backend] = registry.open_backend,
        most_open: int = MOST_OPEN,
        retry_s: float = RETRY_S,
    ) -> None:
        self._place = place
        self._reporter = reporter
        self._open_inner = open_inner
        self._most_open = most_open
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._opened: OrderedDict[tuple[str, ...], _Opened] = OrderedDict()
        self._closed = False
        self._limit: LimitBackend | None = None
        if place.upload_bps or place.download_bps:
            self._limit = LimitBackend(MemoryBackend(), place.upload_bps, place.download_bps)

    def verify(self) -> None:
        """UsageError or PluginError where the location or an option of it makes no sense."""
        self._open(()).close()

    @contextmanager
    def use(self, folders: Sequence[str]) -> Iterator[Backend]:
        """The backend of this repository, open as long as the context is; MissingFileError for a name of no place."""
        key = tuple(folders)
        entry = self._taken(key)
        try:
            yield entry.backend
        finally:
            with self._lock:
                entry.users -= 1
                surplus = self._surplus()
            _close(surplus)

    def close(self) -> None:
        """End every pause between tries and close all; who uses one now gets errors. Idempotent."""
        with self._lock:
            self._closed = True
            opened = [entry.backend for entry in self._opened.values()]
            self._opened.clear()
        if self._limit is not None:
            self._limit.interrupt()
        _close(opened)

    def _taken(self, key: tuple[str, ...]) -> _Opened:
        # The lock is held while it opens: none asks its server anything yet, and rclone alone starts a program.
        with self._lock:
            if self._closed:
                raise BackendError("the gateway is being closed")
            entry = self._opened.get(key)
            if entry is None:
                entry = self._opened[key] = _Opened(self._open(key))
            self._opened.move_to_end(key)
            entry.users += 1
            surplus = self._surplus()
        _close(surplus)
        return entry

    def _surplus(self) -> list[Backend]:
        idle = [key for key, entry in self._opened.items() if not entry.users]
        surplus = idle[: max(0, len(self._opened) - self._most_open)]
        return [self._opened.pop(key).backend for key in surplus]

    def _open(self, folders: Sequence[str]) -> Backend:
        location = self._place.location
        for name in folders:
            if not _SAFE_NAME.fullmatch(name):
                raise MissingFileError(
                    f"{name!r} cannot be part of a repository's name here: letters, digits and . _ @ + = , - can"
                )
            location = registry.location_below(location, name)
        try:
            backend = self._open_inner(location, self._place.options, self._place.transport)
        except UsageError as error:
            if not folders:
                raise
            raise MissingFileError(str(error)) from error
        if self._limit is not None:
            backend = self._limit.around(backend)
        # A gateway runs for months: what could not be loaded once is asked for anew as soon as a client wants it.
        return RetryBackend(backend, reporter=self._reporter, max_elapsed_s=self._retry_s, failed_load_expiry_s=0)


def _close(backends: Sequence[Backend]) -> None:
    for backend in backends:
        backend.close()
