"""The checksum at the end of a snapshot of etcd: whether the file is what the server sent."""

from __future__ import annotations

import hashlib
import os

CHECKSUM_SIZE = hashlib.sha256().digest_size
_DATABASE_UNIT = 512
"""The database before the checksum is a whole number of these, by which etcd tells that there is one."""
_READ_SIZE = 1 << 20


def problem(path: str) -> str | None:
    """Why the file is no whole snapshot; None if it is one."""
    size = os.path.getsize(path)
    if size <= CHECKSUM_SIZE or size % _DATABASE_UNIT != CHECKSUM_SIZE:
        return f"it has no checksum at its end ({size} bytes)"
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        left = size - CHECKSUM_SIZE
        while left:
            data = file.read(min(left, _READ_SIZE))
            digest.update(data)
            left -= len(data)
        return None if file.read() == digest.digest() else "its checksum is another one"
