"""The calls that differ between systems or file systems, each with its plain fallback."""

from __future__ import annotations

import errno
import os
import stat
import sys

if sys.platform != "win32":
    import fcntl

PAGE = 4096
DIRECT_FROM_BYTES = 1 << 20
"""Below this the page cache is as good: the gain of O_DIRECT is in not copying megabytes."""

_NOT_SUPPORTED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}
_CHMOD_REFUSED = _NOT_SUPPORTED | {errno.EPERM, errno.EACCES}
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW_FLAGS = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
) | getattr(os, "O_BINARY", 0)


def open_to_read(path: str) -> int:
    """A descriptor to read the file; OSError for what is none, such as a fifo, which is not waited for."""
    descriptor = os.open(path, _READ_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EPERM, "is no regular file")
    return descriptor


def open_new(path: str) -> int:
    """A descriptor to write a file of mode 0600 that did not exist; FileExistsError if it did."""
    return os.open(path, _NEW_FLAGS, 0o600)


def write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte, however short the single writes are.

    Whole pages of a large page-aligned buffer go past the page cache where the file system has O_DIRECT: that
    saves most of the system time of a large write. What is refused that way is written the plain way.
    """
    direct = data.nbytes >= DIRECT_FROM_BYTES and _set_direct(descriptor, True)
    position = 0
    whole_pages = data.nbytes - data.nbytes % PAGE if direct else 0
    while direct and position < whole_pages:
        try:
            position += os.write(descriptor, data[position:whole_pages])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break  # not aligned as this file system wants it, be it from the start or after a short write
    if direct:
        _set_direct(descriptor, False)
    while position < data.nbytes:
        position += os.write(descriptor, data[position:])


def read_range(descriptor: int, offset_bytes: int, length_bytes: int) -> bytes:
    """The bytes of the range, fewer only where the file ends."""
    pieces = []
    missing = length_bytes
    while missing > 0:
        piece = _read_once(descriptor, offset_bytes + length_bytes - missing, missing)
        if not piece:
            break
        pieces.append(piece)
        missing -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_into(descriptor: int, offset_bytes: int, buffer: memoryview) -> int:
    """Fill the buffer from the offset on; the number of bytes there were."""
    position = 0
    while position < buffer.nbytes:
        if sys.platform != "win32":
            count = os.preadv(descriptor, [buffer[position:]], offset_bytes + position)
        else:
            piece = _read_once(descriptor, offset_bytes + position, buffer.nbytes - position)
            count = len(piece)
            buffer[position : position + count] = piece
        if count == 0:
            break
        position += count
    return position


def sync_file(descriptor: int) -> None:
    """Have the file's bytes on the disk, unless the file system cannot promise that (restic issue 3720)."""
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # fsync alone leaves the bytes in the drive's cache there
        else:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def sync_folder(path: str) -> None:
    """Have the folder's names on the disk, where a folder can be opened and synced at all."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def make_read_only(descriptor: int, mode: int) -> None:
    """Give the open file this mode, unless the file system refuses modes (restic issue 5595).

    Left out on Windows, where a read-only file can be neither replaced nor removed.
    """
    if sys.platform == "win32":
        return
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in _CHMOD_REFUSED:
            raise


def _read_once(descriptor: int, offset_bytes: int, length_bytes: int) -> bytes:
    if sys.platform != "win32":
        return os.pread(descriptor, length_bytes, offset_bytes)
    os.lseek(descriptor, offset_bytes, os.SEEK_SET)  # the descriptor is one call's alone: its position may move
    return os.read(descriptor, length_bytes)


def _set_direct(descriptor: int, wanted: bool) -> bool:
    """Switch O_DIRECT of an open file; False where there is no such thing."""
    if sys.platform != "linux":
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    except OSError:
        return False
    return True
