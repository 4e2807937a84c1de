"""What is left out: the `Selection` of a run, prepared for one walk through the file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from stat import S_IFDIR, S_IFMT

from limpet.contracts.left_out import LeftOut, StatusCheck
from limpet.contracts.source import Selection, StatLike
from limpet.patterns import NameMatcher

Warn = Callable[[str], None]


class Selector:
    """Decides on every path of one walk. Paths are absolute, as people know them.

    UsageError for a pattern or tag that makes no sense. `devices` gives the device of every target by its path.
    """

    def __init__(self, selection: Selection, devices: dict[bytes, int]) -> None:
        self._left_out = LeftOut(selection)
        self._devices = devices if selection.one_file_system else None

    def names_left_out(self, folder: bytes, fd: int, warn: Warn) -> NameMatcher | None:
        """What of the folder is left out by name alone; None if nothing is. `fd` is the open folder."""
        return self._left_out.names(folder, partial(_has_tag, folder, fd, warn))

    def status_check(self, folder: bytes, folder_status: StatLike) -> StatusCheck | None:
        """What of the folder is left out by name and status: asked for what its name alone does not leave out."""
        if self._devices is None:
            return self._left_out.status_check(folder)
        return self._left_out.status_check(folder, _device_check(self._devices, folder, folder_status.st_dev))


def _has_tag(folder: bytes, fd: int, warn: Warn, name: bytes, header: bytes) -> bool:
    """Whether the open folder holds a tag file that starts with the header."""
    path = os.fsdecode(folder + b"/" + name)
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        warn(f"could not access exclusion tagfile {path}: {error.strerror}")
        return False
    if not header:
        return True
    try:
        tag = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=fd)
        try:
            found = os.read(tag, len(header))
        finally:
            os.close(tag)
    except OSError as error:
        warn(f"could not read signature from exclusion tagfile {path}: {error.strerror}")
        return False
    if found != header:
        fault = "invalid" if len(found) == len(header) else "invalid (too short)"
        warn(f'{fault} signature in exclusion tagfile "{path}"')
        return False
    return True


def _device_check(devices: dict[bytes, int], folder: bytes, folder_device: int) -> StatusCheck:
    """A mount point stays, as an empty folder; what is on it goes."""
    allowed = allowed_device(devices, folder)
    is_inside = allowed == folder_device
    prefix = folder if folder == b"/" else folder + b"/"

    def leaves_out(name: bytes, status: StatLike) -> bool:
        if status.st_dev == devices.get(prefix + name, allowed):
            return False
        return not (is_inside and S_IFMT(status.st_mode) == S_IFDIR)

    return leaves_out


def allowed_device(devices: dict[bytes, int], path: bytes) -> int | None:
    """The device that a path may be on: that of the nearest target at or above it."""
    while path not in devices:
        if path == b"/":
            return None
        path = path.rpartition(b"/")[0] or b"/"
    return devices[path]
