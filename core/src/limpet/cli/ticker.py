"""Calls a function again and again while an operation runs, and at once when SIGUSR1 arrives."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from limpet.cli.environment import environment_value

MAX_UPDATES_PER_S = 60.0
DEFAULT_UPDATES_PER_S = 10.0


def update_interval_s(*, visible: bool, by_default: bool) -> float | None:
    """Seconds between updates: as LIMPET_PROGRESS_FPS (RESTIC_PROGRESS_FPS) says, else ten a second.

    The variable counts with --quiet, too. None for no regular updates: where nothing is to be seen, or by default not
    wanted. UsageError where the variable holds no number.
    """
    wanted = environment_value("PROGRESS_FPS", _parse_rate) or 0.0
    if wanted > 0:
        return 1.0 / min(wanted, MAX_UPDATES_PER_S)
    return 1.0 / DEFAULT_UPDATES_PER_S if visible and by_default else None


def _parse_rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("not a number") from None


class Ticker:
    """A thread that calls `update` every `interval_s` seconds (None: only on SIGUSR1) until `stop`."""

    def __init__(self, interval_s: float | None, update: Callable[[], None]) -> None:
        self._interval_s = interval_s
        self._update = update
        self._wake = threading.Event()
        self._stopped = False
        self._restore_handler: Callable[[], object] = lambda: None
        if hasattr(signal, "SIGUSR1") and threading.current_thread() is threading.main_thread():
            earlier = signal.signal(signal.SIGUSR1, lambda _number, _frame: self._wake.set())
            self._restore_handler = lambda: signal.signal(signal.SIGUSR1, earlier)
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No update comes after this returns."""
        self._stopped = True
        self._wake.set()
        self._thread.join()
        if threading.current_thread() is threading.main_thread():
            self._restore_handler()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval_s)
            if self._stopped:
                return
            self._wake.clear()
            self._update()
