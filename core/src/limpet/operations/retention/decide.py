"""Which snapshots of one group a policy keeps, and for which reasons: restic's decisions, word for word.

Pure: the same snapshots, policy and time give the same answer. Source: restic's `internal/data/snapshot_policy.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limpet.format.timestamps import ZERO_TIME, Time, date_from_days, wall_clock
from limpet.operations.retention.policy import Policy, tag_list_text
from limpet.operations.retention.span import Span
from limpet.repository.snapshots import StoredSnapshot, has_tags

_HOUR_S = 3600
Period = tuple[int, ...]
"""What the snapshots of one hour, day, ... have in common."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot that stays, and why: `last snapshot`, `daily within 7d`, `has tags [a]`, ..."""

    stored: StoredSnapshot
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """Both newest first."""

    keep: Sequence[Kept]
    remove: Sequence[StoredSnapshot]


def apply_policy(snapshots: Sequence[StoredSnapshot], policy: Policy, now_ns: int) -> Decision:
    """What the policy keeps of the snapshots of one group, and what not.

    Hours, days, ... are those of the clock where a snapshot was made. The newest snapshot that `within` counts from is
    none of the future. A rule that has not found enough keeps the oldest snapshot, too. Of snapshots of the same time
    the first given counts as the newest.
    """
    newest_first = sorted(snapshots, key=lambda stored: stored.time_ns, reverse=True)
    rules = _rules(policy, _newest(newest_first, now_ns))
    keep, remove = [], []
    for number, stored in enumerate(newest_first):
        is_oldest = number == len(newest_first) - 1
        reasons = [f"has tags {tag_list_text(tags)}" for tags in policy.tags if has_tags(stored.snapshot, tags)]
        reasons += [reason for rule in rules if (reason := rule.judge(stored, number, is_oldest=is_oldest))]
        if reasons:
            keep.append(Kept(stored, tuple(reasons)))
        else:
            remove.append(stored)
    return Decision(keep, remove)


def _newest(newest_first: Sequence[StoredSnapshot], now_ns: int) -> Time:
    """The time of the newest snapshot that is not of the future; Go's zero time where all are."""
    past = (stored.snapshot.time for stored in newest_first if stored.time_ns < now_ns)
    return max((next(past, ZERO_TIME), ZERO_TIME), key=lambda moment: moment.ns)


def _always(_moment: Time, number: int) -> Period:
    return (number,)


def _hour(moment: Time, _number: int) -> Period:
    days, of_day_s = wall_clock(moment)
    return days, of_day_s // _HOUR_S


def _day(moment: Time, _number: int) -> Period:
    return wall_clock(moment)[:1]


def _week(moment: Time, _number: int) -> Period:
    days, _ = wall_clock(moment)
    return ((days + 3) // 7,)  # 1970-01-01 was a Thursday, weeks begin on Monday


def _month(moment: Time, _number: int) -> Period:
    return date_from_days(wall_clock(moment)[0])[:2]


def _year(moment: Time, _number: int) -> Period:
    return date_from_days(wall_clock(moment)[0])[:1]


PeriodOf = Callable[[Time, int], Period]


@dataclass(slots=True)
class _Count:
    """Keeps the newest snapshot of each of so many periods; a negative count for all."""

    left: int
    period_of: PeriodOf
    name: str
    last: Period | None = None

    def judge(self, stored: StoredSnapshot, number: int, *, is_oldest: bool) -> str | None:
        """Why it keeps the snapshot, if it does. To be asked about each, newest first."""
        if not self.left:
            return None
        period = self.period_of(stored.snapshot.time, number)
        is_new, self.last = period != self.last, period
        if not (is_new or is_oldest):
            return None
        self.left -= self.left > 0
        return self.name if is_new else f"oldest {self.name}"


@dataclass(slots=True)
class _Within:
    """Keeps the newest snapshot of each period after an instant."""

    start_ns: int
    span: Span
    period_of: PeriodOf
    name: str
    last: Period | None = None

    def judge(self, stored: StoredSnapshot, number: int, *, is_oldest: bool) -> str | None:
        """Why it keeps the snapshot, if it does. To be asked about each, newest first."""
        if stored.time_ns <= self.start_ns:
            return None
        period = self.period_of(stored.snapshot.time, number)
        is_new, self.last = period != self.last, period
        if not (is_new or is_oldest):
            return None
        return f"{self.name} {self.span}" if is_new else f"oldest {self.name} {self.span}"


def _rules(policy: Policy, newest: Time) -> list[_Count | _Within]:
    """The policy's rules in the order of their reasons."""
    spans = (
        (policy.within_hourly, _hour, "hourly within"),
        (policy.within_daily, _day, "daily within"),
        (policy.within_weekly, _week, "weekly within"),
        (policy.within_monthly, _month, "monthly within"),
        (policy.within_yearly, _year, "yearly within"),
    )
    within = [(policy.within, _always, "within")] if policy.within else []
    return [
        *(_Within(span.before(newest), span, period_of, name) for span, period_of, name in within),
        _Count(policy.last, _always, "last snapshot"),
        _Count(policy.hourly, _hour, "hourly snapshot"),
        _Count(policy.daily, _day, "daily snapshot"),
        _Count(policy.weekly, _week, "weekly snapshot"),
        _Count(policy.monthly, _month, "monthly snapshot"),
        _Count(policy.yearly, _year, "yearly snapshot"),
        *(_Within(span.before(newest), span, period_of, name) for span, period_of, name in spans if span),
    ]
