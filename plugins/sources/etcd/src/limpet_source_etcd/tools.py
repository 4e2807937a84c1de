"""etcd's tools: which of them does what, what they say, and a limit for one that waits for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from limpet.contracts.dump import require_program

PACKAGE = "etcd-client"
STUCK_S = 60.0
"""A snapshot that did not grow for so long never will: etcdctl has no limit of its own."""
_POLL_S = 0.05


class ToolError(Exception):
    """A tool did not end well; the text says how, and what it said."""


def etcdctl() -> str:
    """The path of the client; UsageError where it is not to be found."""
    return require_program("etcdctl", PACKAGE)


def etcdutl() -> str:
    """What works on files: a tool of its own since etcd 3.5, before that etcdctl."""
    return shutil.which("etcdutl") or etcdctl()


def run(argv: Sequence[str], size: Callable[[], int] | None = None) -> None:
    """Run to the end; ToolError if it fails, or if the `size` of what it makes stays the same for too long."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            code = process.wait() if size is None else _wait(process, size)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said.seek(0)
        if code:
            ending = f"exit status {code}" if code > 0 else f"signal {-code}"
            what = os.path.basename(argv[0])
            raise ToolError(f"{what} {argv[1]} {argv[2]} failed: {ending}: {_reason(said.read())}")


def _wait(process: subprocess.Popen[bytes], size: Callable[[], int]) -> int:
    last, since = -1, time.monotonic()
    while (code := process.poll()) is None:
        if (now := size()) != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > STUCK_S:
            raise ToolError(f"the server sent nothing for {STUCK_S:g} seconds")
        time.sleep(_POLL_S)
    return code


def _reason(said: bytes) -> str:
    """The line that says most: no log in JSON, and rather the reason than the verdict."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("{")]
    reasons = [line for line in lines if line != "Error: unhealthy cluster"]
    errors = [line for line in reasons if line.startswith("Error:")]
    return (errors or reasons or lines or ["it said nothing"])[0]
