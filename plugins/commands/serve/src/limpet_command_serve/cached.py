"""Files that the kernel has in memory, opened and read without a wait: the disk, or whatever is in its place, may hang.

That is for file systems which can read without waiting (`RWF_NOWAIT`, preadv2(2)): those of local disks. Where files
come over a network or from a program (NFS, FUSE), merely to open one may hang.
"""

from __future__ import annotations

import errno
import os

from limpet.format.native import open_cached


class CachedFiles:
    """The files below a folder. `learn` runs in worker threads, `open` in the event loop's."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._device: int | None = None
        """Of the folder's file system, if that can read without waiting."""

    def learn(self, descriptor: int) -> None:
        """Look whether files can be read without waiting, at one below the folder that was opened just now.

        Each time: another file system may have been mounted at the folder's place.
        """
        device = os.stat(self._root).st_dev
        if device != self._device and os.fstat(descriptor).st_dev == device and _reads_without_wait(descriptor):
            self._device = device

    def open(self, path: str) -> tuple[int, int] | None:
        """A descriptor and the size of a file below the folder; None where it is not in memory, or not there."""
        return None if self._device is None else open_cached(self._root, self._device, path)


def read_cached(descriptor: int, offset_bytes: int, buffer: memoryview) -> bool:
    """Fill the buffer from the file; False where not all of it is in memory, or anything else is in the way."""
    try:
        return os.preadv(descriptor, [buffer], offset_bytes, os.RWF_NOWAIT) == len(buffer)
    except OSError:
        return False


def _reads_without_wait(descriptor: int) -> bool:
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            return False
        raise
    return True
