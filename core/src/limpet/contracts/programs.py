"""A program of the system, run to its end within a time limit: what it printed, or an error that says what is wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence

from limpet.errors import HookError

GRACE_S = 3.0
_ADMINISTRATORS_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


def run_program(argv: Sequence[str], timeout_s: float, *, may_be_killed: bool = True) -> str:
    """What it printed on standard output.

    HookError if it is not there, fails, or takes longer than `timeout_s`: it is ended then, and left to itself if even
    that does not work, as with one that waits for a disk. With `may_be_killed=False` it is only asked to end. Its last
    words are in the error, in English.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:{_ADMINISTRATORS_FOLDERS}"  # cron leaves them out
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise HookError(f"the program {argv[0]} is not installed")
    try:
        process = subprocess.Popen(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            start_new_session=True,  # Ctrl-C in a terminal is for us: it should not be stopped half-way
        )
    except OSError as error:
        raise HookError(f"{argv[0]} could not be started: {error.strerror}") from error
    try:
        output, complaints = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        ended = _end(process, may_be_killed=may_be_killed)
        fate = "was ended" if ended else "is not to be ended: it may still run"
        raise HookError(f"{_shown(argv)} took longer than {timeout_s:g} s and {fate}") from error
    except BaseException:
        _end(process, may_be_killed=may_be_killed)
        raise
    if process.returncode:
        code = process.returncode
        how = f"exit status {code}" if code > 0 else f"killed by signal {-code}"
        words = [line.strip() for line in complaints.decode(errors="replace").splitlines() if line.strip()]
        raise HookError(f"{_shown(argv)} failed: {words[-1] if words else 'it said nothing'} ({how})")
    return output.decode(errors="surrogateescape")


def _end(process: subprocess.Popen[bytes], *, may_be_killed: bool) -> bool:
    """Whether it could be ended, with all it started: asked first, killed after the grace."""
    for number in (signal.SIGTERM, signal.SIGKILL) if may_be_killed else (signal.SIGTERM,):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE_S)
            return True
    return False


def _shown(argv: Sequence[str]) -> str:
    """The program and what it is to do, without all the rest."""
    return " ".join(argv[: 1 + next((n for n, word in enumerate(argv[1:]) if word.startswith(("-", "/"))), 1)])
