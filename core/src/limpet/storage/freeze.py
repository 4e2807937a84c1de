"""Holds writes back while it is not certain that our lock still stands, and for good once it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

from limpet.contracts.backend import Backend, Content, FileKind, Handle
from limpet.errors import LockedError
from limpet.storage.wrapping import WrappingBackend

Guard = Callable[[FileKind | None], None]
"""Takes the kind of file that is about to be written or removed; None where it is the repository itself."""


class FreezeBackend(WrappingBackend):
    """Reads always pass, and so do lock files; any other write waits while frozen and fails once stopped.

    A guard is called before every write: after hours of standby the write that was about to happen must not
    win the race against the thread that finds out about the lock.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._guards: list[Guard] = []
        self._changed = threading.Condition()
        self._frozen = False
        self._reason: str | None = None

    def add_guard(self, guard: Guard) -> None:
        """Have `guard` called before every write; it may freeze or stop this backend."""
        self._guards.append(guard)

    def remove_guard(self, guard: Guard) -> None:
        """Call `guard` no more."""
        self._guards.remove(guard)

    def freeze(self) -> None:
        """Make writes wait."""
        with self._changed:
            self._frozen = True

    def thaw(self) -> None:
        """Let waiting and later writes pass, unless they were stopped meanwhile."""
        with self._changed:
            self._frozen = False
            self._changed.notify_all()

    def stop(self, reason: str) -> None:
        """Make waiting and later writes raise LockedError with this reason; there is no way back."""
        with self._changed:
            self._reason = self._reason or reason
            self._changed.notify_all()

    @property
    def stopped(self) -> str | None:
        """Why nothing is written any more; None while all is well."""
        return self._reason

    def create(self) -> None:
        self._wait()
        super().create()

    def save(self, handle: Handle, content: Content) -> None:
        if handle.kind is not FileKind.LOCK:
            self._wait(handle.kind)
        super().save(handle, content)

    def remove(self, handle: Handle) -> None:
        if handle.kind is not FileKind.LOCK:
            self._wait(handle.kind)
        super().remove(handle)

    def sweep(self) -> int:
        self.confirm()
        return super().sweep()

    def delete(self) -> None:
        self._wait()
        super().delete()

    def confirm(self) -> None:
        """Look our lock up now, as before a write that others will rely on; LockedError if it is ours no longer."""
        self._wait(FileKind.INDEX)

    def _wait(self, kind: FileKind | None = None) -> None:
        for guard in tuple(self._guards):
            guard(kind)
        with self._changed:
            self._changed.wait_for(lambda: self._reason is not None or not self._frozen)
            if self._reason is not None:
                raise LockedError(self._reason)


def find_freezer(backend: Backend) -> FreezeBackend | None:
    """The freezing wrapper around or inside `backend`.

    Inside the retry wrapper it also stops a write that is being tried again, so that is where it belongs.
    """
    while isinstance(backend, WrappingBackend):
        if isinstance(backend, FreezeBackend):
            return backend
        backend = backend.inner
    return None
