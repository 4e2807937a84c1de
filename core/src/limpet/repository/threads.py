"""Threads that work on a repository's storage: as many as it takes at once, and gone when their user gives up."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from limpet.contracts.backend import Backend


class Interruptible(Protocol):
    """What the threads need of a repository."""

    @property
    def backend(self) -> Backend:
        """Says how many calls it takes at once."""

    def interrupt(self) -> None:
        """End the pauses of retries."""


@contextmanager
def storage_threads(repository: Interruptible, tasks: int) -> Iterator[ThreadPoolExecutor]:
    """Threads for so many tasks; all have ended when the context is left.

    An error in the context cancels what has not begun, and after Ctrl-C nothing is tried again either: a storage that
    is away must not hold the user for minutes.
    """
    with ThreadPoolExecutor(max(1, min(repository.backend.properties.connections, tasks)), "limpet-storage") as threads:
        try:
            yield threads
        except BaseException as error:
            threads.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                repository.interrupt()
            raise
