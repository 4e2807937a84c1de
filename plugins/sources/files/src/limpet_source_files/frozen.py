"""Targets that are read from a frozen copy: where everything in them is then, and which device it shows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from limpet import filesystem

from limpet_source_files.targets import Location, WorkingFolder, clean, is_within


class FrozenCopies:
    """The frozen copies of one request. Without any, everything is where it is."""

    def __init__(self, targets: Sequence[str], read_from: Mapping[str, str], working_folder: WorkingFolder) -> None:
        self._places: dict[bytes, bytes] = {}
        self.devices: dict[int, int] = {}
        """The numbers of the copies' devices by those of what they are copies of: nothing else tells hard links apart,
        and a copy has another number in every run (restic issue 3041)."""
        if not read_from:
            return
        for target in targets:  # Those that are not frozen too: inside one that is, they are read where they are.
            real = working_folder.locate(clean(os.fsencode(target))).real
            copy = read_from.get(target)
            self._places[real] = real if copy is None else clean(os.fsencode(copy))
            if copy is not None:
                with suppress(OSError):  # one of them is gone: told when it is to be read
                    self.devices[filesystem.lstat(self._places[real]).st_dev] = filesystem.lstat(real).st_dev

    def locate(self, location: Location) -> Location:
        """Where to open what is at the location."""
        above = [real for real in self._places if is_within(location.real, real)]
        if not above:
            return location
        nearest = max(above, key=len)
        copy = self._places[nearest]
        if copy == nearest:
            return location
        rest = location.real[len(nearest) :].lstrip(b"/")
        return Location(os.path.join(copy, rest) if rest else copy, location.shown)

    def original(self, path: bytes) -> bytes:
        """The path of what an opened path is a copy of; the path itself if it is in no copy."""
        within = [real for real, copy in self._places.items() if is_within(path, copy)]
        if not within:
            return path
        real = max(within, key=lambda place: len(self._places[place]))
        rest = path[len(self._places[real]) :].lstrip(b"/")
        return os.path.join(real, rest) if rest else real
