"""Runs a piece of work to its end although Ctrl-C arrives in the middle of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

INTERRUPT_GRACE_S = 5.0
"""How long the work may still take after Ctrl-C; a storage that does not answer must not hold the user."""


def shielded(work: Callable[[], None], *, limit_s: float = math.inf, grace_s: float = INTERRUPT_GRACE_S) -> bool:
    """Do the work; its error is raised here. A KeyboardInterrupt meanwhile is raised when the work is done.

    The work runs in a thread of its own, for only the main thread is interrupted by a signal. False if it was left
    to itself, unfinished, after `limit_s`.
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
    thread.start()
    interrupt: KeyboardInterrupt | None = None
    deadline = time.monotonic() + limit_s
    while thread.is_alive() and (left_s := deadline - time.monotonic()) > 0:
        try:
            thread.join(min(left_s, threading.TIMEOUT_MAX))
        except KeyboardInterrupt as error:
            if interrupt is None:
                deadline = min(deadline, time.monotonic() + grace_s)
            interrupt = error
    if interrupt is not None:
        raise interrupt
    if errors:
        raise errors[0]
    return not thread.is_alive()
