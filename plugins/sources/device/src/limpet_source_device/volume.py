"""A block device or an image file, opened: its size, its caches, and what the kernel tells of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from limpet import filesystem

BLKFLSBUF = 0x1261
LOOP_GET_STATUS64 = 0x4C05
"""Ioctls. Source: include/uapi/linux/fs.h, loop.h."""
DIRECT_ALIGNMENT = 4096
DIRECT_BYTES = 4 * 1024 * 1024
_LOOP_STATUS = struct.Struct("=QQQQQIIII")
"""Begin of `struct loop_info64`: device and inode of the file, its rdev, offset, size limit, number, ..., flags."""
_LOOP_STATUS_BYTES = 232
_BLOCKS = Path("/sys/dev/block")


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """What a backup needs to know before it reads."""

    size_bytes: int
    status: os.stat_result
    is_device: bool

    @property
    def number(self) -> str:
        """`MAJOR:MINOR` of a block device."""
        return number_of(self.status.st_rdev)


def number_of(device: int) -> str:
    """A device number as /sys and /proc write it."""
    return f"{os.major(device)}:{os.minor(device)}"


def look_at(path: str) -> VolumeFacts:
    """Size and kind of the device or image at `path`; OSError where it cannot be read or is something else."""
    with opened(path) as fd:
        status = os.fstat(fd)
        is_device = stat.S_ISBLK(status.st_mode)
        size = os.lseek(fd, 0, os.SEEK_END) if is_device else status.st_size
        return VolumeFacts(size, status, is_device)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor for reading, for the time being."""
    fd = open_volume(path)
    try:
        yield fd
    finally:
        os.close(fd)


def open_volume(path: str, flags: int = 0) -> int:
    """A descriptor for reading; OSError for what is neither a block device nor a regular file."""
    fd = os.open(path, os.O_RDONLY | filesystem.CLOSE_ON_EXEC | filesystem.NO_WAIT | flags)
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        os.close(fd)
        raise OSError(errno.ENOTBLK, "is neither a block device nor an image file", path)
    return fd


class VolumeReader:
    """Reads a device past the system's cache of it, an image through the cache. Used by one thread at a time.

    A file system writes its files past the cache of its device: what was read through the device before, by the last
    backup say, would be read again, old as it is. To empty the cache does not help, for a page stays in it as long as
    any block of it is in use: with blocks of 1 KiB next to a bitmap there are three that may be old.
    """

    def __init__(self, path: str, *, is_device: bool) -> None:
        """OSError if it cannot be opened."""
        self._direct: mmap.mmap | None = None
        if is_device:
            try:
                self.fd = open_volume(path, os.O_DIRECT)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self.fd = open_volume(path)  # nobody knows of such a device
                forget_cached(self.fd)
            else:
                self._direct = mmap.mmap(-1, DIRECT_BYTES)  # begins at a page, as direct reads want it
        else:
            self.fd = open_volume(path)

    def read_into(self, view: memoryview, offset: int) -> int:
        """How many bytes from the offset on were put into the view: fewer than fit if it pleases; 0 at the end."""
        if self._direct is None:
            return os.preadv(self.fd, [view], offset)
        skipped = offset % DIRECT_ALIGNMENT
        wanted = min(-(-(skipped + len(view)) // DIRECT_ALIGNMENT) * DIRECT_ALIGNMENT, DIRECT_BYTES)
        with memoryview(self._direct) as buffer, buffer[:wanted] as part:
            count = os.preadv(self.fd, [part], offset - skipped)
            count = max(min(count - skipped, len(view)), 0)
            view[:count] = part[skipped : skipped + count]
        return count

    def read(self, offset: int, length: int) -> bytes:
        """So many bytes, fewer only at the end."""
        content = bytearray(length)
        done = 0
        with memoryview(content) as view:
            while done < length and (count := self.read_into(view[done:], offset + done)):
                done += count
        return bytes(content[:done])

    def close(self) -> None:
        """Let go of it. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
        if self._direct is not None:
            self._direct.close()


def forget_cached(fd: int) -> None:
    """Have reads of a device that nobody else uses come from the device."""
    with contextlib.suppress(OSError):  # only root may
        fcntl.ioctl(fd, BLKFLSBUF, 0)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def holes_of_file(fd: int, size_bytes: int) -> list[tuple[int, int]]:
    """Where an image file has no data: begin and end of each hole."""
    holes = []
    position = 0
    while position < size_bytes:
        data = filesystem.next_data(fd, position)
        begin, end = (size_bytes, size_bytes) if data is None else data
        if begin > position:
            holes.append((position, min(begin, size_bytes)))
        position = end
    return holes


def holes_of_loop_device(fd: int, number: str, size_bytes: int) -> list[tuple[int, int]]:
    """Where the file of a loop device has no data, as ranges of the device; none for any other device.

    What was written to the device is in the file first: a hole there reads as zeros here.
    """
    try:
        described = fcntl.ioctl(fd, LOOP_GET_STATUS64, bytes(_LOOP_STATUS_BYTES))
        file = (_BLOCKS / number / "loop/backing_file").read_text().rstrip("\n")
        os.fsync(fd)
        backing = open_volume(file)
    except OSError:
        return []
    try:
        status = os.fstat(backing)
        device, inode, _, offset, *_ = _LOOP_STATUS.unpack_from(described)
        if not stat.S_ISREG(status.st_mode) or (device, inode) != (_encoded(status.st_dev), status.st_ino):
            return []  # The name leads to another file by now.
        if status.st_size < offset + size_bytes:
            return []  # Cut since: what is missing is no zeros but an error.
        holes = holes_of_file(backing, offset + size_bytes)
        return [(max(begin - offset, 0), end - offset) for begin, end in holes if end > offset]
    finally:
        os.close(backing)


def _encoded(device: int) -> int:
    """A device number as the kernel's `huge_encode_dev` writes it."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
