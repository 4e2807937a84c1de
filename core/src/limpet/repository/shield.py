"""Runs a piece of work to its end although Ctrl-C arrives in the middle of it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

INTERRUPT_GRACE_S = 5.0
"""How long the work may still take after Ctrl-C; a storage that does not answer must not hold the user."""
POLL_S = 0.1


def shielded(work: Callable[[], object], *, limit_s: float = math.inf, grace_s: float = INTERRUPT_GRACE_S) -> bool:
    """Do the work; its error is raised here. Ctrl-C and SIGTERM meanwhile are acted upon when the work is done.

    The work runs in a thread of its own, so that it can be left to itself: False if it is unfinished after `limit_s`.
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return True
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="limpet-shielded", daemon=True)
    deadline = time.monotonic() + limit_s
    with HeldSignals() as held:
        thread.start()
        while thread.is_alive() and (left_s := deadline - time.monotonic()) > 0:
            thread.join(min(left_s, POLL_S))  # returns at once when the work is done
            if held.came and grace_s < math.inf:
                deadline = min(deadline, time.monotonic() + grace_s)
                grace_s = math.inf  # counts from the first signal on
    if errors:
        raise errors[0]
    return not thread.is_alive()


class HeldSignals:
    """Holds back the signals that Python code has a handler for, and hands them over at the end.

    Only the main thread gets any: in others it does nothing.
    """

    def __init__(self) -> None:
        self.came: list[int] = []
        self._handlers: dict[int, Callable[[int, FrameType | None], object]] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._hold)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(self.came):
            self._handlers[number](number, None)

    def _hold(self, number: int, _frame: FrameType | None) -> None:
        self.came.append(number)
