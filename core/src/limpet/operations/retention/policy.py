"""What a retention policy asks for, and how it is put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from limpet.errors import UsageError
from limpet.operations.retention.span import NO_SPAN, Span

UNLIMITED = -1
"""As a count: all of them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Counts are of the newest snapshot of each hour, day, ...; UNLIMITED for all of them, 0 for none.

    `within...` counts back from the newest snapshot of a group. `tags` are groups of tags: a snapshot that has all
    tags of one of them is kept, and one without tags where a group holds an empty one.

    UsageError for numbers below -1 and for spans that are negative.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Span = NO_SPAN
    within_hourly: Span = NO_SPAN
    within_daily: Span = NO_SPAN
    within_weekly: Span = NO_SPAN
    within_monthly: Span = NO_SPAN
    within_yearly: Span = NO_SPAN
    tags: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        if min(self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly) < UNLIMITED:
            raise UsageError("negative values other than -1 are not allowed for --keep-*")
        spans = (self.within, self.within_hourly, self.within_daily, self.within_weekly, self.within_monthly)
        if any(span.is_negative for span in (*spans, self.within_yearly)):
            raise UsageError("durations containing negative values are not allowed for --keep-within*")

    @property
    def is_empty(self) -> bool:
        """Whether it keeps nothing at all."""
        return not any(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        """Restic's words: `keep 3 latest, all daily snapshots and all snapshots with tags [[a]]`."""
        counts = (
            (self.last, "latest"),
            (self.hourly, "hourly"),
            (self.daily, "daily"),
            (self.weekly, "weekly"),
            (self.monthly, "monthly"),
            (self.yearly, "yearly"),
        )
        counted = [f"{'all' if count == UNLIMITED else count} {word}" for count, word in counts if count]
        spans = (
            (self.within_hourly, "hourly"),
            (self.within_daily, "daily"),
            (self.within_weekly, "weekly"),
            (self.within_monthly, "monthly"),
            (self.within_yearly, "yearly"),
        )
        parts = [f"{', '.join(counted)} snapshots"] if counted else []
        parts += [f"{word} snapshots within {span}" for span, word in spans if span]
        wanted = [", ".join(parts)] if parts else []
        if self.tags:
            wanted.append(f"all snapshots with tags [{' '.join(tag_list_text(group) for group in self.tags)}]")
        if self.within:
            wanted.append(f"all snapshots within {self.within} of the newest")
        return "keep " + " and ".join(wanted) if wanted else "remove"


def tag_list_text(tags: Sequence[str]) -> str:
    """`[a, b]`."""
    return f"[{', '.join(tags)}]"
