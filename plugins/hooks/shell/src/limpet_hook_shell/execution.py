"""One command line, run by the user's shell: it ends well in time, or that is an error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from limpet.errors import HookError

GRACE_S = 2.0
_STANDARD_ERROR = 2


def run_command_line(line: str, environment: Mapping[str, str], document: bytes, timeout_s: float) -> None:
    """Run `line` and wait; HookError that says how it ended if it fails, is killed, or has to be after `timeout_s`.

    `document` is on its standard input, whether it reads it or not. What it prints goes to standard error: standard
    output belongs to the command, maybe as JSON.
    """
    try:
        process = subprocess.Popen(
            line,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=_STANDARD_ERROR,
            env=dict(environment),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise HookError(f"could not be started: {error}") from error
    try:
        process.communicate(document, timeout_s)
    except subprocess.TimeoutExpired as error:
        _end(process)
        raise HookError(f"took longer than {timeout_s:g} s and was ended") from error
    except BaseException:
        _end(process)
        raise
    if code := process.returncode:
        how = f"exited with code {code}" if code > 0 else f"was killed by signal {-code}"
        raise HookError(how)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the shell and all it started: asked first, killed after the grace."""
    if sys.platform == "win32":  # No process groups to signal.
        process.kill()
        process.wait()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
