"""Which paths of a snapshot a rewrite keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from limpet.patterns import Patterns

OnPath = Callable[[bytes, bool], None]
"""Told of a path that a filter has decided, and whether it is a folder."""


class PathFilter(Protocol):
    """Keeps some paths."""

    keeps_emptied_snapshot: bool
    """Whether a snapshot of which nothing is left stays as it is."""

    def keeps(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether the entry stays; a folder may also stay for what is in it."""

    def keeps_empty(self, path: bytes) -> bool:
        """Whether a folder stays that has nothing in it any more."""


class Excluding:
    """Leaves out what fits a pattern, and all below it. Told of what is left out."""

    keeps_emptied_snapshot = False

    def __init__(self, patterns: Sequence[Patterns], on_excluded: OnPath | None = None) -> None:
        self._patterns = patterns
        self._on_excluded = on_excluded

    def keeps(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether no pattern fits."""
        kept = not any(patterns.matches(path) for patterns in self._patterns)
        if not kept and self._on_excluded is not None:
            self._on_excluded(path, is_folder)
        return kept

    def keeps_empty(self, path: bytes) -> bool:
        """Every folder."""
        return True


class Including:
    """Keeps only what fits a pattern, and the folders on the way. Told of what is kept for its own sake."""

    keeps_emptied_snapshot = True

    def __init__(self, patterns: Sequence[Patterns], on_included: OnPath | None = None) -> None:
        self._patterns = patterns
        self._on_included = on_included

    def keeps(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether a pattern fits, or may fit something in the folder."""
        decided = [patterns.matches_or_leads(path) for patterns in self._patterns]
        kept = any(matched or (leads and is_folder) for matched, leads in decided)
        if kept and not is_folder and self._on_included is not None:
            self._on_included(path, False)
        return kept

    def keeps_empty(self, path: bytes) -> bool:
        """Folders that fit by themselves."""
        kept = any(patterns.matches_or_leads(path)[0] for patterns in self._patterns)
        if kept and self._on_included is not None:
            self._on_included(path, True)
        return kept
