"""Reads folders: names and status of what is in them, without recursion and without a limit on depth."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter

from limpet import filesystem
from limpet.contracts.source import Entry, Folder, StatLike

from limpet_source_files.selection import Selector
from limpet_source_files.targets import Location, join

Failed = Callable[[OSError, bytes], None]
Warn = Callable[[str], None]

_by_name = attrgetter("name")
_TYPE, _FOLDER, _REGULAR = 0o170000, 0o040000, 0o100000


class Walker:
    """Walks once, with one selection. What cannot be read is told to `failed`, with its path, and left out."""

    def __init__(self, selector: Selector, failed: Failed, warn: Warn, devices: Mapping[int, int]) -> None:
        """`devices` are the numbers to show for those of frozen copies."""
        self._devices = devices
        self._selector = selector
        self._failed = failed
        self._warn = warn

    def folders(self, path: bytes, location: Location, status: StatLike) -> Iterator[Folder]:
        """The folder at `location` as `path` of the snapshot, then all below it.

        A folder that cannot be read is not yielded at all.
        """
        waiting: list[tuple[bytes, Location, StatLike]] = [(path, location, status)]
        while waiting:
            path, location, status = waiting.pop()
            found = self.read(location, status)
            if found is None:
                continue
            if self._devices:
                found = [(name, filesystem.on_device(entry_status, self._devices)) for name, entry_status in found]
            entries = [Entry(name, entry_status) for name, entry_status in found]
            entries.sort(key=_by_name)
            inner = [entry for entry in entries if entry.stat.st_mode & _TYPE == _FOLDER]
            yield Folder(path, entries, location.real)
            while inner:
                entry = inner.pop()
                waiting.append((join(path, entry.name), location.below(entry.name), entry.stat))

    def count(self, location: Location, status: StatLike, stopped: Callable[[], bool]) -> tuple[int, int]:
        """Regular files and their bytes in the folder and all below it, until `stopped`."""
        files = size_bytes = 0
        waiting = [(location, status)]
        while waiting and not stopped():
            location, status = waiting.pop()
            for name, entry_status in self.read(location, status) or ():
                kind = entry_status.st_mode & _TYPE
                if kind == _REGULAR:
                    files += 1
                    size_bytes += entry_status.st_size
                elif kind == _FOLDER:
                    waiting.append((location.below(name), entry_status))
        return files, size_bytes

    def read(self, location: Location, status: StatLike) -> list[tuple[bytes, os.stat_result]] | None:
        """Names and status of all in the folder that stays, in no order; None, told, if it cannot be read."""
        try:
            fd = filesystem.open_folder(location.real, follow=False)
        except OSError as error:
            self._failed(error, location.shown)
            return None
        try:
            return self._read_open(fd, location, status)
        except OSError as error:
            self._failed(error, location.shown)
            return None
        finally:
            os.close(fd)

    def _read_open(self, fd: int, location: Location, status: StatLike) -> list[tuple[bytes, os.stat_result]]:
        # The hot loop: 80,000 entries a second and core are only reached without any call per entry that is not needed.
        encoding, errors = filesystem.NAME_ENCODING, filesystem.NAME_ERRORS
        left_out = self._selector.names_left_out(location.shown, fd, self._warn)
        check = self._selector.status_check(location.shown, status)
        found = []
        with os.scandir(fd) as listing:
            for item in listing:
                name = item.name.encode(encoding, errors)
                if left_out is not None and left_out(name):
                    continue
                try:
                    entry_status = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # gone since it was listed
                except OSError as error:
                    self._failed(error, join(location.shown, name))
                    continue
                if check is None or not check(name, entry_status):
                    found.append((name, entry_status))
        return found
