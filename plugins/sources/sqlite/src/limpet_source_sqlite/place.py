"""Where a database is: the path in an address such as `sqlite:/srv/app.db`, and the files beside it."""

from __future__ import annotations

import os
from urllib.parse import quote

from limpet.errors import UsageError

LOG, SHARED_MEMORY, JOURNAL = "-wal", "-shm", "-journal"
"""What SQLite appends for the files that belong to a database while it is in use, or after a crash."""


def database_path(rest: str) -> str:
    """The absolute path that `sqlite:rest` names; UsageError where it names none."""
    path = rest
    if rest.startswith("//"):
        path = rest[2:]
        if not path.startswith("/"):
            raise UsageError(f"sqlite:{rest}: a database is a file of this machine: sqlite:/PATH or sqlite:///PATH")
    if not path or "\0" in path or path.endswith("/"):
        raise UsageError(f"sqlite:{rest!r} names no file: write sqlite:/PATH")
    return os.path.abspath(path)


def uri(path: str, parameters: str) -> str:
    """How SQLite is told to open the file in a certain way: `mode=ro`."""
    return f"file:{quote(os.fsencode(path))}?{parameters}"
