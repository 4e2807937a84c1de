"""Freezes a file system for another process, and thaws it whatever becomes of that. Run as a program of its own.

    python -I -S guard.py LIMIT_S MOUNTPOINT

It says `frozen`, or `error ...`, and then waits: until its standard input ends (which it does when the other process
dies), until that process is not its parent any more, until LIMIT_S seconds are over, or for a SIGTERM. Then it thaws
and says `thawed`, `expired` or `stopped`; `meddled` where somebody else had thawed before. It needs nothing of a file
system once it has begun.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
"""Source: include/uapi/linux/fs.h."""
LOOK_AGAIN_S = 0.5


def freeze(fd: int) -> None:
    """Stop all writes to the file system; what was written so far is on its device. OSError if it cannot be."""
    fcntl.ioctl(fd, FIFREEZE, 0)


def thaw(fd: int) -> bool:
    """Let the writes go on; whether it was frozen."""
    try:
        fcntl.ioctl(fd, FITHAW, 0)
    except OSError:
        return False
    return True


def main(limit_s: float, point: str) -> int:
    """Do it all."""
    parent = os.getppid()
    waker, signalled = _listen_for_signals()
    _stay_when_memory_is_short()
    try:
        fd = os.open(point, os.O_RDONLY)
        freeze(fd)
    except OSError as error:
        _say(f"error {error.strerror}")
        return 1
    word = "stopped"
    try:
        _say("frozen")
        word = _wait(time.monotonic() + limit_s, parent, waker)
    finally:
        was_frozen = thaw(fd)
        _say(word if was_frozen else "meddled")
        os.close(signalled)
    return 0


def _wait(deadline_s: float, parent: int, waker: int) -> str:
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    waiting.register(waker, select.POLLIN)
    while (rest_s := deadline_s - time.monotonic()) > 0:
        ready = {fd for fd, _ in waiting.poll(min(rest_s, LOOK_AGAIN_S) * 1000)}
        if waker in ready:
            return "stopped"
        if 0 in ready or os.getppid() != parent:
            return "thawed"
    return "expired"


def _listen_for_signals() -> tuple[int, int]:
    """Signals end nothing here: they wake who reads the first descriptor."""
    waker, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    return waker, signalled


def _stay_when_memory_is_short() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
    except OSError:
        return  # only root may


def _say(word: str) -> None:
    try:
        os.write(1, (word + "\n").encode(errors="surrogateescape"))
    except OSError:
        return  # nobody listens any more


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2]))
