"""What of a volume is left out: the run's `Selection`, asked a folder at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from stat import S_ISDIR

from limpet import filesystem
from limpet.contracts.source import Entry, Selection
from limpet.errors import UsageError
from limpet.patterns import NameMatcher, Patterns

CACHE_TAG = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"
"""As of the Cache Directory Tagging Specification."""

ReadStart = Callable[[bytes, int], bytes]
"""The first bytes of a file of the folder, by its name; empty where it cannot be read."""


class Chooser:
    """Decides on the entries of folders, by their paths in the snapshot; UsageError for a bad pattern or tag."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._patterns = (
            Patterns(selection.exclude, option="--exclude"),
            Patterns(selection.exclude_insensitive, ignore_case=True, option="--iexclude"),
        )
        tags = [*selection.exclude_if_present, *([CACHE_TAG] if selection.exclude_caches else [])]
        self._tags = [_parse_tag(tag) for tag in tags]

    def chosen(self, folder: bytes, entries: list[Entry], read_start: ReadStart) -> list[Entry]:
        """The entries that stay, sorted by name."""
        matchers = [matcher for patterns in self._patterns if (matcher := patterns.within(folder)) is not None]
        matchers += [_all_but(name) for name, header in self._tags if _has_tag(entries, name, header, read_start)]
        stay = [entry for entry in entries if not any(matcher(entry.name) for matcher in matchers)]
        stay = [entry for entry in stay if not self._is_rejected(folder, entry)]
        stay.sort(key=lambda entry: entry.name)
        return stay

    def _is_rejected(self, folder: bytes, entry: Entry) -> bool:
        selection, status = self._selection, entry.stat
        largest = selection.exclude_larger_than_bytes
        if largest is not None and status.st_size > largest and not S_ISDIR(status.st_mode):
            return True
        if selection.exclude_cloud_files and not entry.made and filesystem.is_only_in_cloud(status):
            return True
        hook = selection.rejected_by_hook
        return hook is not None and hook(folder + b"/" + entry.name, status)


def _parse_tag(text: str) -> tuple[bytes, bytes]:
    name, _, header = os.fsencode(text).partition(b":")
    if not name:
        raise UsageError(f"--exclude-if-present: no file name in {text!r} (write NAME or NAME:HEADER)")
    return name, header


def _has_tag(entries: list[Entry], name: bytes, header: bytes, read_start: ReadStart) -> bool:
    if not any(entry.name == name for entry in entries):
        return False
    return not header or read_start(name, len(header)) == header


def _all_but(name: bytes) -> NameMatcher:
    return lambda other: other != name
