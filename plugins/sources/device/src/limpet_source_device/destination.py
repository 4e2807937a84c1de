"""`DeviceDestination`: a file of a snapshot goes back onto a device, or into a sparse image."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from typing import Self

from limpet import filesystem
from limpet.contracts.destination import Destination, DestinationRequest, StoredFile
from limpet.errors import DestinationError, UsageError
from limpet.progress import Reporter, SilentReporter

from limpet_source_device.address import local_path, snapshot_path
from limpet_source_device.usage import loops_over, made_of, usage_of
from limpet_source_device.volume import forget_cached, look_at, number_of
from limpet_source_device.writing import DifferenceWriter

_FLAGS = os.O_RDWR | filesystem.CLOSE_ON_EXEC
_IMAGE_MODE = 0o600
_COMPARED_BYTES = 1024 * 1024


class DeviceDestination(Destination):
    """Writes only blocks that differ. A device that anybody uses is never written to."""

    def __init__(self, path: str, reporter: Reporter, *, is_device: bool, verify: bool) -> None:
        self._path = path
        self._reporter = reporter
        self._is_device = is_device
        self._verify = verify
        self._fd: int | None = None

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for a device or image that is in use, or that the run itself uses."""
        path = local_path(request.place)
        is_device = _check(path, request.own_places)
        verify = bool(request.options.get("verify"))
        destination = cls(path, request.reporter or SilentReporter(), is_device=is_device, verify=verify)
        if is_device:
            destination._fd = _claim(path)  # held from now on, so that nobody mounts it meanwhile
        return destination

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """The file of this very device where there are several."""
        own = snapshot_path(self._path)
        return [own] if own in paths else super().wanted(paths)

    def receive(self, file: StoredFile) -> None:
        """Bring the device to the file's content. DestinationError where it does not fit or cannot be written."""
        try:
            self._receive(file)
        except OSError as error:
            raise DestinationError(f"{self._path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _receive(self, file: StoredFile) -> None:
        is_new = not self._is_device and not os.path.exists(self._path)
        if self._fd is None:
            self._fd = os.open(self._path, _FLAGS | os.O_CREAT, _IMAGE_MODE)
        fd = self._fd
        if self._is_device:
            size = os.lseek(fd, 0, os.SEEK_END)
            if size < file.size_bytes:
                raise DestinationError(
                    f"{self._path}: has {size} bytes, too few for the {file.size_bytes} of {file.path}; "
                    "nothing was written"
                )
            forget_cached(fd)
        else:
            os.ftruncate(fd, file.size_bytes)
        writer = DifferenceWriter(fd, is_device=self._is_device, is_new=is_new)
        position = 0
        for piece in file.pieces():
            if piece.data is None:
                writer.put_zeros(position, piece.size_bytes)
            else:
                writer.put(position, memoryview(piece.data).cast("B"))
            position += piece.size_bytes
        if position != file.size_bytes:
            raise DestinationError(f"{file.path}: {position} bytes came out of the repository, not {file.size_bytes}")
        os.fsync(fd)
        self._reporter.note(
            f"{self._path}: {writer.bytes_written} of {file.size_bytes} bytes differed and were written"
        )
        if self._verify:
            self._compare(fd, file)

    def _compare(self, fd: int, file: StoredFile) -> None:
        """Read all of it again; DestinationError where it is not what was written."""
        forget_cached(fd)
        position = 0
        for piece in file.pieces():
            data = None if piece.data is None else memoryview(piece.data).cast("B")
            for begin in range(0, piece.size_bytes, _COMPARED_BYTES):
                length = min(_COMPARED_BYTES, piece.size_bytes - begin)
                wanted = bytes(length) if data is None else bytes(data[begin : begin + length])
                if os.pread(fd, length, position + begin) != wanted:
                    place = f"between byte {position + begin} and {position + begin + length}"
                    raise DestinationError(f"{self._path}: does not hold what was written to it, {place}")
            position += piece.size_bytes
        self._reporter.note(f"{self._path}: compared, all is as it was written")


def _check(path: str, own_places: Sequence[str]) -> bool:
    """Whether it is a device; UsageError for what must not be written to."""
    try:
        status = look_at(path)
    except FileNotFoundError:
        return _check_new_image(path, own_places)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if status.is_device:
        above = made_of({status.number})
        for place in own_places:
            if os.path.exists(place) and number_of(os.stat(place).st_dev) in above:
                raise UsageError(f"{path}: holds {place}, which this restore itself uses")
    else:
        _refuse_own_files(path, own_places)
        loops = loops_over(path)
        if loops:
            raise UsageError(f"{path}: is attached to a loop device: detach it first (losetup --detach)")
    usage = usage_of(path, status)
    if usage.mounts or usage.others:
        raise UsageError(f"{path}: is in use: {usage.words_for_all}; it is not written to")
    return status.is_device


def _check_new_image(path: str, own_places: Sequence[str]) -> bool:
    _refuse_own_files(path, own_places)
    folder = os.path.dirname(path)
    if path.startswith("/dev/") and stat.S_ISDIR(os.stat("/dev").st_mode):
        raise UsageError(f"{path}: there is no such device")
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no folder {folder} to make the image in")
    return False


def _refuse_own_files(path: str, own_places: Sequence[str]) -> None:
    real = os.path.realpath(path)
    for place in own_places:
        own = os.path.realpath(place)
        if real == own or real.startswith(own + "/"):
            raise UsageError(f"{path}: is in {place}, which this restore itself uses")


def _claim(path: str) -> int:
    """The device for us alone; UsageError if somebody else has it."""
    try:
        return os.open(path, _FLAGS | os.O_EXCL)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EBUSY else error.strerror
        raise UsageError(f"{path}: {reason}; it is not written to") from error
