"""Calls that might hang, given up after a while: a server or a keyring that does not answer must not hold a run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(limit_s: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; TimeoutError once it has taken `limit_s`.

    It runs in a thread of its own, which is left behind then: it must not matter what it still does. Ctrl-C is not
    kept waiting.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # Raised again where it is waited for.
            errors.append(error)

    thread = threading.Thread(target=work, name="limpet-within", daemon=True)
    thread.start()
    thread.join(limit_s)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {limit_s:g} s")
    return results[0]
