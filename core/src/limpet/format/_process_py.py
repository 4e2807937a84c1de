"""The twins of what `_native` asks of the system for a process."""

from __future__ import annotations

import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """The system kills this process when its parent ends (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # only where the extension is missing

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def keep_freed_memory() -> None:
    """Nothing: only C code profits enough to matter."""


def return_freed_memory() -> None:
    """Nothing, for the same reason."""
