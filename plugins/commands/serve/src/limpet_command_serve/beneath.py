"""Folders below a root, opened step by step and never through a symbolic link: no path leads out."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNSYNCED = {errno.ENOTSUP, errno.EINVAL, errno.ENOSYS}
"""What file systems answer that cannot sync a folder."""


@contextmanager
def opened_folder(root: str, parts: Sequence[str]) -> Iterator[int]:
    """A descriptor of the folder; OSError where it is missing, or where a link is in its place."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in parts:
            below = os.open(name, _FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def make_folders(root: str, parts: Sequence[str], mode: int) -> None:
    """Make the folder and those above it, durably; those that are there are left as they are."""
    for depth, name in enumerate(parts):
        with opened_folder(root, parts[:depth]) as above:
            with suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=above)
            sync_folder(above)  # Also where it was there: who made it may not have come so far.


def sync_folder(descriptor: int) -> None:
    """Make the names in the folder durable, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
