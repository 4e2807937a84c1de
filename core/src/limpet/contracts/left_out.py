"""What of a folder is left out, as a run's `Selection` says: for sources that read folders.

In two steps, for a status costs a call: names first, then name and status of what is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from stat import S_ISDIR

from limpet import filesystem
from limpet.contracts.source import Selection, StatLike
from limpet.errors import UsageError
from limpet.patterns import NameMatcher, Patterns

CACHE_TAG = "CACHEDIR.TAG:Signature: 8a477f597d28d172789f06886806bc55"
"""As of the Cache Directory Tagging Specification."""

StatusCheck = Callable[[bytes, StatLike], bool]
"""Whether the entry of that name and status is left out."""
TagCheck = Callable[[bytes, bytes], bool]
"""Whether the folder has a file of that name which begins with the header; with an empty one, any of that name."""


class LeftOut:
    """Decides by absolute paths, as people know them. UsageError for a pattern or tag that makes no sense."""

    def __init__(self, selection: Selection) -> None:
        self._patterns = Patterns(selection.exclude, option="--exclude")
        self._folded = Patterns(selection.exclude_insensitive, ignore_case=True, option="--iexclude")
        tags = [*selection.exclude_if_present, *([CACHE_TAG] if selection.exclude_caches else [])]
        self._tags = [_parse_tag(tag) for tag in tags]
        self._largest = selection.exclude_larger_than_bytes
        self._skips_cloud = selection.exclude_cloud_files
        self._hook = selection.rejected_by_hook

    def names(self, folder: bytes, has_tag: TagCheck) -> NameMatcher | None:
        """What of the folder is left out by name alone; None if nothing is."""
        matchers = [self._patterns.within(folder), self._folded.within(folder)]
        matchers += [_all_but(name) for name, header in self._tags if has_tag(name, header)]
        present = [matcher for matcher in matchers if matcher is not None]
        if len(present) < 2:
            return present[0] if present else None
        return lambda name: any(matcher(name) for matcher in present)

    def status_check(self, folder: bytes, *more: StatusCheck) -> StatusCheck | None:
        """What of the folder is left out by name and status, or by one of `more`; None if nothing is."""
        checks = list(more)
        if self._largest is not None:
            checks.append(_size_check(self._largest))
        if self._skips_cloud:
            checks.append(lambda _name, status: filesystem.is_only_in_cloud(status))
        if self._hook is not None:
            checks.append(_hook_check(self._hook, folder))
        if len(checks) < 2:
            return checks[0] if checks else None
        return lambda name, status: any(check(name, status) for check in checks)


def _parse_tag(text: str) -> tuple[bytes, bytes]:
    name, _, header = os.fsencode(text).partition(b":")
    if not name:
        raise UsageError(f"--exclude-if-present: no file name in {text!r} (write NAME or NAME:HEADER)")
    return name, header


def _all_but(name: bytes) -> NameMatcher:
    return lambda other: other != name


def _size_check(largest: int) -> StatusCheck:
    return lambda _name, status: status.st_size > largest and not S_ISDIR(status.st_mode)


def _hook_check(rejected: Callable[[bytes, StatLike], bool], folder: bytes) -> StatusCheck:
    prefix = folder if folder == b"/" else folder + b"/"
    return lambda name, status: rejected(prefix + name, status)
