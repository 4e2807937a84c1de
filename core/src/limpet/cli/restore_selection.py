"""What --include, --exclude and their kin leave of a snapshot, and of extended attributes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.errors import UsageError
from limpet.patterns import Patterns, pattern_lines

if TYPE_CHECKING:
    from limpet.operations.restore import Selector, XattrSelector


@dataclass(frozen=True, slots=True)
class PatternFlags:
    """One set of flags, say those that start with --include: `word` is `include` or `exclude`."""

    word: str
    patterns: Sequence[str]
    insensitive: Sequence[str]
    files: Sequence[str]
    insensitive_files: Sequence[str]

    def compile(self) -> list[Patterns]:
        """The lists of patterns that have any; UsageError naming the flag of an invalid one, or an unreadable file."""
        word = self.word
        # restic checks what comes from files first, under the name of that flag.
        from_files = _read(self.files, f"--{word}-file")
        insensitive_from_files = _read(self.insensitive_files, f"--i{word}-file")
        compiled = [
            Patterns([*self.insensitive, *insensitive_from_files], ignore_case=True, option=f"--i{word}"),
            Patterns([*self.patterns, *from_files], option=f"--{word}"),
        ]
        return [patterns for patterns in compiled if patterns]


def select_paths(exclude: PatternFlags, include: PatternFlags) -> Selector | None:
    """Which entries are restored; None for all. UsageError if both kinds are given."""
    excluded, included = exclude.compile(), include.compile()
    if excluded and included:
        raise UsageError("exclude and include patterns are mutually exclusive")

    def without_excluded(path: bytes, is_folder: bool) -> tuple[bool, bool]:
        selected = not any(patterns.matches(path) for patterns in excluded)
        return selected, selected and is_folder

    def only_included(path: bytes, is_folder: bool) -> tuple[bool, bool]:
        selected = leads = False
        for patterns in included:
            matched, may_lead = patterns.matches_or_leads(path)
            selected, leads = selected or matched, leads or may_lead
        return selected, leads and is_folder

    if excluded:
        return without_excluded
    return only_included if included else None


def select_xattrs(exclude: Sequence[str], include: Sequence[str]) -> XattrSelector | None:
    """Which extended attributes are restored; None for all. UsageError if both kinds are given."""
    if exclude and include:
        raise UsageError("exclude and include xattr patterns are mutually exclusive")
    if exclude:
        excluded = Patterns(exclude, option="--exclude-xattr")
        return lambda name: not excluded.matches(name)
    if include:
        return Patterns(include, option="--include-xattr").matches
    return None


def _read(files: Sequence[str], option: str) -> list[str]:
    patterns: list[str] = []
    for name in files:
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"failed to read patterns from file {name!r}: {error.strerror}") from error
        patterns += pattern_lines(data, os.environ)
    Patterns(patterns, option=option)
    return patterns
