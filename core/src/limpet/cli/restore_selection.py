"""What --include, --exclude and their kin leave of a snapshot, and of extended attributes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limpet.cli.pattern_flags import PatternFlags
from limpet.errors import UsageError
from limpet.patterns import Patterns

if TYPE_CHECKING:
    from limpet.operations.restore import Selector, XattrSelector


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
