"""What of a volume is left out: the run's `Selection`, asked a folder at a time."""

from __future__ import annotations

from collections.abc import Callable

from limpet.contracts.left_out import LeftOut
from limpet.contracts.source import Entry, Selection

ReadStart = Callable[[bytes, int], bytes]
"""The first bytes of a file of the folder, by its name; empty where it cannot be read."""


class Chooser:
    """Decides on the entries of folders, by their paths in the snapshot; UsageError for a bad pattern or tag."""

    def __init__(self, selection: Selection) -> None:
        self._left_out = LeftOut(selection)

    def chosen(self, folder: bytes, entries: list[Entry], read_start: ReadStart) -> list[Entry]:
        """The entries that stay, sorted by name."""

        def has_tag(name: bytes, header: bytes) -> bool:
            is_there = any(entry.name == name for entry in entries)
            return is_there and (not header or read_start(name, len(header)) == header)

        by_name, by_status = self._left_out.names(folder, has_tag), self._left_out.status_check(folder)
        stay = [entry for entry in entries if by_name is None or not by_name(entry.name)]
        if by_status is not None:
            stay = [entry for entry in stay if not by_status(entry.name, entry.stat)]
        stay.sort(key=lambda entry: entry.name)
        return stay
