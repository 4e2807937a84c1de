"""Lends the terminal to ssh while it connects, and no longer: it may ask for a password or about a host key."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def terminal_lent_to(group: int) -> Iterator[None]:
    """The process group is in the terminal's foreground meanwhile, if we are now; otherwise nothing happens.

    ssh is in a group of its own, so that Ctrl-C comes to us alone; one in the background cannot read the terminal.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield  # a cron job has none: ssh fails instead of asking
        return
    try:
        own = os.getpgrp()
        if os.tcgetpgrp(terminal) != own:
            yield
            return
        _bring_forward(terminal, group)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)  # it may have asked, and been stopped, before its turn
        try:
            yield
        finally:
            _bring_forward(terminal, own)
    finally:
        os.close(terminal)


def _bring_forward(terminal: int, group: int) -> None:
    # From the background this stops the whole program, unless the signal is blocked.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(terminal, group)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
