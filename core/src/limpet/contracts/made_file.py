"""The target of a stream: one made-up file, with the owner and the mode that restic gives it."""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections.abc import Callable
from typing import BinaryIO

from limpet.contracts.source import Entry, MadeStat, Target
from limpet.errors import UsageError

DEFAULT_FILENAME = "stdin"
FILE_MODE = stat.S_IFREG | 0o644


def absolute_path(filename: str) -> str:
    """`filename` as a path from the snapshot's root, cleaned: `b/../c` becomes `/c`; UsageError for no name at all."""
    path = posixpath.normpath("/" + filename.lstrip("/"))
    if path == "/" or "\0" in path:
        raise UsageError(f"invalid filename specified: {filename!r} names no file; give one with --stdin-filename")
    return path


def stream_target(path: str, stream: Callable[[], BinaryIO], time_ns: int | None = None) -> Target:
    """The target for a stream that is stored as the file `path`, owned by the user, changed then or just now."""
    raw = os.fsencode(path)
    made = MadeStat(
        FILE_MODE, time.time_ns() if time_ns is None else time_ns, st_uid=_own_id("getuid"), st_gid=_own_id("getgid")
    )
    return Target(raw, Entry(posixpath.basename(raw), made, stream=stream, made=True))


def _own_id(name: str) -> int:
    ask: Callable[[], int] | None = getattr(os, name, None)  # Windows has neither.
    return ask() if ask is not None else 0
