"""Waiting for something that another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_S = 60.0


def wait_for(happened: Callable[[], bool], what: str) -> None:
    """Return once it has happened; AssertionError naming it if that takes too long."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
