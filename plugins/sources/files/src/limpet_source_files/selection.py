"""What is left out: the `Selection` of a run, prepared for one walk through the file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from stat import S_IFDIR, S_IFMT

from limpet import filesystem
from limpet.contracts.source import Selection, StatLike
from limpet.errors import UsageError
from limpet.patterns import NameMatcher, Patterns

CACHE_TAG = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"
"""As of the Cache Directory Tagging Specification."""

Warn = Callable[[str], None]
StatusCheck = Callable[[bytes, StatLike], bool]


class Selector:
    """Decides on every path of one walk. Paths are absolute, as people know them.

    UsageError for a pattern or tag that makes no sense. `devices` gives the device of every target by its path.
    """

    def __init__(self, selection: Selection, devices: dict[bytes, int]) -> None:
        self._patterns = Patterns(selection.exclude, option="--exclude")
        self._folded = Patterns(selection.exclude_insensitive, ignore_case=True, option="--iexclude")
        tags = [*selection.exclude_if_present, *([CACHE_TAG] if selection.exclude_caches else [])]
        self._tags = [_parse_tag(tag) for tag in tags]
        self._largest = selection.exclude_larger_than_bytes
        self._skips_cloud = selection.exclude_cloud_files
        self._hook = selection.rejected_by_hook
        self._devices = devices if selection.one_file_system else None

    def names_left_out(self, folder: bytes, fd: int, warn: Warn) -> NameMatcher | None:
        """What of the folder is left out by name alone; None if nothing is. `fd` is the open folder."""
        matchers = [self._patterns.within(folder), self._folded.within(folder)]
        matchers.extend(_all_but(name) for name in self._valid_tags(folder, fd, warn))
        present = [matcher for matcher in matchers if matcher is not None]
        if len(present) < 2:
            return present[0] if present else None
        return lambda name: any(matcher(name) for matcher in present)

    def status_check(self, folder: bytes, folder_status: StatLike) -> StatusCheck | None:
        """What of the folder is left out by name and status: asked for what its name alone does not leave out."""
        checks: list[StatusCheck] = []
        if self._devices is not None:
            checks.append(_device_check(self._devices, folder, folder_status.st_dev))
        if self._largest is not None:
            checks.append(_size_check(self._largest))
        if self._skips_cloud:
            checks.append(lambda _name, status: filesystem.is_only_in_cloud(status))
        if self._hook is not None:
            checks.append(_hook_check(self._hook, folder))
        if len(checks) < 2:
            return checks[0] if checks else None
        return lambda name, status: any(check(name, status) for check in checks)

    def _valid_tags(self, folder: bytes, fd: int, warn: Warn) -> list[bytes]:
        return [name for name, header in self._tags if _has_tag(folder, fd, name, header, warn)]


def _parse_tag(text: str) -> tuple[bytes, bytes]:
    name, _, header = os.fsencode(text).partition(b":")
    if not name:
        raise UsageError(f"--exclude-if-present: no file name in {text!r} (write NAME or NAME:HEADER)")
    return name, header


def _all_but(name: bytes) -> NameMatcher:
    return lambda other: other != name


def _has_tag(folder: bytes, fd: int, name: bytes, header: bytes, warn: Warn) -> bool:
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


def _size_check(largest: int) -> StatusCheck:
    return lambda _name, status: status.st_size > largest and S_IFMT(status.st_mode) != S_IFDIR


def _hook_check(rejected: Callable[[bytes, StatLike], bool], folder: bytes) -> StatusCheck:
    prefix = folder if folder == b"/" else folder + b"/"
    return lambda name, status: rejected(prefix + name, status)


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
