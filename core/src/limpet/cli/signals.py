"""SIGINT and SIGTERM: the first ends the run with its clean-up, whatever the interpreter is just doing.

SIGUSR1 asks how far the run is; where nothing tells, it does nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from limpet.cli.exits import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS_BEFORE_ABANDONING = 3
AGAIN_AFTER_S = 0.02


class Interrupts:
    """Turns the first signal into a KeyboardInterrupt in the main thread; the third one ends the process at once.

    Those in between are ignored: the clean-up is under way.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._received = 0
        self._last = signal.SIGINT
        self._told = False
        self._ended = False

    def install(self) -> None:
        """Take over both signals. Nothing happens outside of the main thread: who runs us there has his own ways."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._receive)
            if hasattr(signal, "SIGUSR1"):
                signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
        except ValueError:
            return
        sys.unraisablehook = self._unraisable

    def end(self) -> None:
        """The run is over: a signal does not stop the clean-up any more, nor what is told; the third one does."""
        self._received = max(self._received, 1)
        self._ended = True

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked worker: its parent tells it when to end
            return
        self._received += 1
        self._last = signal.Signals(number)
        if self._received == 1:
            if not self._told:
                with contextlib.suppress(OSError):  # nobody may be there to read it
                    os.write(2, f"\rsignal {signal.strsignal(number)} received, cleaning up\n".lower().encode())
            self._told = True
            raise KeyboardInterrupt
        if self._received >= SIGNALS_BEFORE_ABANDONING:
            os._exit(EXIT_INTERRUPTED)

    def _unraisable(self, ignored: UnraisableHookArgs) -> None:
        """Python drops what is raised in callbacks of forks, of the garbage collector, ...: interrupt once more."""
        if not issubclass(ignored.exc_type, KeyboardInterrupt) or os.getpid() != self._owner:
            sys.__unraisablehook__(ignored)
            return
        timer = threading.Timer(AGAIN_AFTER_S, self._again)
        timer.daemon = True
        timer.start()

    def _again(self) -> None:
        if not self._ended:
            self._received = 0
            os.kill(self._owner, self._last)


def ignore_signals() -> None:
    """All is done, and Python takes itself apart: a signal now would make a death of a success."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
