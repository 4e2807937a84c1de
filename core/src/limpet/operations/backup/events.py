"""What other threads have finished, handled one after the other by the thread that walks."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from typing import Any

LONGEST_WAIT_S = 0.5


class Events:
    """Calls put in by any thread and made by one, so that what they change needs no locks."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()

    def put(self, handler: Callable[..., None], *arguments: object) -> None:
        """Have `handler(*arguments)` called by the walking thread."""
        self._calls.put((handler, arguments))

    def fail(self, error: BaseException) -> None:
        """Have the error raised in the walking thread."""
        self._calls.put((_raise, (error,)))

    def handle_one(self) -> None:
        """Make the next call; waits for one."""
        while True:
            # Not for ever at once: Ctrl-C in the moment before a wait begins is only seen when the wait is over.
            with suppress(queue.Empty):
                handler, arguments = self._calls.get(timeout=LONGEST_WAIT_S)
                break
        handler(*arguments)

    @property
    def waiting(self) -> bool:
        """Whether there is a call to make."""
        return not self._calls.empty()


def _raise(error: BaseException) -> None:
    raise error
