"""A password out of what the command of a secret store prints: pass, secret-tool, op, bw, vault, ..."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from limpet.errors import HookError

ENTRY, SERVICE = "{entry}", "{service}"


def printed_password(words: Sequence[str], service: str, entry: str, timeout_s: float) -> str | None:
    """The first line that the command prints, None where it prints nothing; HookError where it fails.

    `{entry}` and `{service}` in its words are replaced; no shell sees them. It has no terminal: a store that has to ask
    for its own password does so through its agent, or fails.
    """
    filled = [word.replace(ENTRY, entry).replace(SERVICE, service) for word in words]
    name = filled[0]
    try:
        process = subprocess.Popen(
            filled,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HookError(f"cannot run {name}: {reason}") from error
    try:
        printed, complaints = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _end(process)
        # Not `from error`: what it had printed so far is in there.
        raise HookError(f"{name} took longer than {timeout_s:g} s and was ended") from None
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        said = complaints.decode(errors="replace").strip().splitlines()
        raise HookError(f"{name} ended with exit status {process.returncode}" + (f": {said[-1]}" if said else ""))
    first, _, _ = printed.decode("utf-8", "surrogateescape").partition("\n")
    return first.removesuffix("\r") or None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started; nobody waits for what may still hold its output."""
    if sys.platform == "win32":  # No process groups to signal.
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
