"""Faults at chosen system calls, by strace: an error instead of a call, or death at its beginning.

strace counts calls (`when=`) for each thread; with one connection all packs are saved by one thread.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ONE_CONNECTION = ("-o", "local.connections=1")
CALLS = {
    "fsync": "fsync,fdatasync",
    "rename": "rename,renameat,renameat2",
    "write": "write,pwrite64,pwritev,pwritev2",
    "read": "read,pread64,preadv,preadv2,readv",
    "list": "getdents64",
    "unlink": "unlink,unlinkat",
}


def injected(call: str, fault: str, *, log: Path, only: Path | None = None) -> list[str | Path]:
    """A prefix for a command: `fault` (as `signal=SIGKILL:when=3`) at calls of this kind, `only` of this very path."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("LIMPET_REQUIRE_SERVICES") == "1":
            pytest.fail("strace is missing")
        pytest.skip("no strace here")
    with open(os.path.realpath(sys.executable), "rb") as interpreter:
        # A script that starts the interpreter would be hit itself.
        assert interpreter.read(4) == b"\x7fELF", f"{sys.executable} is no interpreter but a script"
    names = CALLS[call]
    place: list[str | Path] = ["-P", only] if only is not None else []
    return [
        strace,
        "-f",
        "-qq",
        "-o",
        log,
        *place,
        "-e",
        f"trace={names}",
        "-e",
        f"inject={names}:{fault}",
    ]


def injections(log: Path) -> int:
    """How many calls were hit."""
    return log.read_text(errors="replace").count("(INJECTED)") if log.exists() else 0


def killed(log: Path) -> bool:
    """Whether strace saw a process die of SIGKILL."""
    return log.exists() and "killed by SIGKILL" in log.read_text(errors="replace")
