"""`DifferenceWriter`: brings a device or image to a wanted content by writing only what differs from it."""

from __future__ import annotations

import errno
import os
from functools import lru_cache
from typing import TYPE_CHECKING

from limpet import filesystem

if TYPE_CHECKING:
    import ctypes

BLOCK = 4096
SEGMENT = 1024 * 1024
KEEP_SIZE, PUNCH_HOLE = 1, 2
"""Flags of fallocate(2)."""
_ZEROS = bytes(SEGMENT)
_CANNOT_PUNCH = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV, errno.EPERM}


class DifferenceWriter:
    """Writes into a descriptor. Zeros become holes where the file system or the device can make them."""

    def __init__(self, fd: int, *, is_device: bool, is_new: bool) -> None:
        self._fd = fd
        self._is_device = is_device
        self._is_new = is_new  # all zeros, and nothing to compare with
        self._can_punch = True
        self.bytes_written = 0
        """Bytes of data that were written; holes that were made do not count."""

    def put(self, position: int, data: memoryview) -> None:
        """See to it that the data are there."""
        for begin in range(0, len(data), SEGMENT):
            self._put_segment(position + begin, bytes(data[begin : begin + SEGMENT]))

    def put_zeros(self, position: int, size_bytes: int) -> None:
        """See to it that only zeros are there."""
        end = position + size_bytes
        while position < end and not self._is_new:
            begin, data_end = (position, end) if self._is_device else self._next_data(position, end)
            while begin < data_end:
                length = min(SEGMENT, data_end - begin)
                if self._present(begin, length) != _ZEROS[:length] or not self._is_device:
                    self._write_zeros(begin, length)
                begin += length
            position = max(data_end, position + 1)

    def _put_segment(self, position: int, data: bytes) -> None:
        if self._is_new:
            present: bytes | None = _ZEROS[: len(data)]
        else:
            present = self._present(position, len(data))
            if present == data and not (data == _ZEROS[: len(data)] and not self._is_device):
                return
        if data == _ZEROS[: len(data)]:
            self.put_zeros(position, len(data))
            return
        for begin, end, is_zero in _runs(data, present, is_device=self._is_device):
            if is_zero:
                self.put_zeros(position + begin, end - begin)
            else:
                self._write(position + begin, data[begin:end])

    def _present(self, position: int, length: int) -> bytes | None:
        """What is there now; None if it cannot be read, and so has to be written."""
        try:
            return os.pread(self._fd, length, position)
        except OSError:
            return None

    def _next_data(self, position: int, end: int) -> tuple[int, int]:
        data = filesystem.next_data(self._fd, position)
        if data is None or data[0] >= end:
            return end, end
        return data[0], min(data[1], end)

    def _write_zeros(self, position: int, length: int) -> None:
        if self._can_punch:
            try:
                punch_hole(self._fd, position, length)
            except OSError as error:
                if error.errno not in _CANNOT_PUNCH:
                    raise
                self._can_punch = self._is_device and error.errno == errno.EINVAL  # only this range is not aligned
            else:
                return
        if self._present(position, length) != _ZEROS[:length]:
            self._write(position, _ZEROS[:length])

    def _write(self, position: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._fd, rest, position)
            position += count
            self.bytes_written += count
            rest = rest[count:]


def _runs(data: bytes, present: bytes | None, *, is_device: bool) -> list[tuple[int, int, bool]]:
    """Begin, end and whether all is zero, of the runs of blocks that differ from what is there.

    In an image also zeros that are there already: they may be data, and could be a hole.
    """
    runs: list[tuple[int, int, bool]] = []
    for begin in range(0, len(data), BLOCK):
        block = data[begin : begin + BLOCK]
        is_zero = block == _ZEROS[: len(block)]
        if present is not None and present[begin : begin + BLOCK] == block and (is_device or not is_zero):
            continue
        end = begin + len(block)
        if runs and runs[-1][1] == begin and runs[-1][2] == is_zero:
            runs[-1] = (runs[-1][0], end, is_zero)
        else:
            runs.append((begin, end, is_zero))
    return runs


def punch_hole(fd: int, position: int, length: int) -> None:
    """Make the range a hole that reads as zeros; OSError where that cannot be had."""
    import ctypes  # noqa: PLC0415  # only to restore

    if _fallocate()(fd, PUNCH_HOLE | KEEP_SIZE, ctypes.c_int64(position), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@lru_cache(1)
def _fallocate() -> ctypes._NamedFuncPointer:
    import ctypes  # noqa: PLC0415

    library = ctypes.CDLL(None, use_errno=True)
    name = "fallocate64" if hasattr(library, "fallocate64") else "fallocate"
    found: ctypes._NamedFuncPointer = getattr(library, name)
    return found
