"""Policies: what they say, what they keep, what they refuse; and the removal of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, LockedError, UsageError
from limpet.format.snapshot import Protection, Snapshot, encode_snapshot
from limpet.format.timestamps import NS_PER_S, Time, parse_time
from limpet.ids import BlobId, StorageId
from limpet.operations.retention import (
    NO_SPAN,
    UNLIMITED,
    LastSnapshotError,
    Policy,
    Span,
    apply_policy,
    decide_groups,
    parse_span,
    protected_at,
    remove_snapshots,
)
from limpet.repository.locks import RepositoryLock
from limpet.repository.snapshots import StoredSnapshot, load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet.testing.handmade import Handmade

NOW = parse_time("2024-06-01T12:00:00Z").ns
NUMBERS = st.integers(0, 10**6)


def snapshot(time: str, *tags: str, host: str = "h", protection: Protection | None = None) -> StoredSnapshot:
    """A snapshot of that time; its id is made of the time."""
    made = Snapshot(parse_time(time), BlobId(bytes(32)), ["/a"], hostname=host, tags=list(tags), protection=protection)
    return StoredSnapshot(StorageId(time.encode().ljust(32)[:32]), made)


def daily(count: int) -> list[StoredSnapshot]:
    """One a day at noon, the newest on 31 May 2024."""
    newest = date(2024, 5, 31)
    return [snapshot(f"{newest - timedelta(number)}T12:00:00Z") for number in range(count)]


def days(snapshots: Sequence[StoredSnapshot]) -> list[str]:
    """The dates, as given to `snapshot`."""
    return [stored.id.decode()[:10] for stored in snapshots]


# -- spans -----------------------------------------------------------------------------------------------------------


@given(st.builds(Span, NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_spans_are_read_as_they_are_shown(span: Span) -> None:
    """A script that takes the policy from the output and gives it back must get the same policy."""
    assert parse_span(str(span)) == span


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("5", "no unit found after number 5"),
        ("5w", "invalid unit 'w' found after number 5"),
        ("d", "no number found"),
        ("1d-", "no number found"),
        ("1d 2h", "no number found"),
        ("99999999999999999999y", "out of range"),
    ],
)
def test_spans_that_are_none(text: str, error: str) -> None:
    """A typing error must not become another policy."""
    with pytest.raises(ValueError, match=error):
        parse_span(text)


def test_a_span_follows_the_calendar() -> None:
    """A month before 31 March is 2 March in a leap year, as restic counts; a month is not 30 days."""
    assert Span(months=1).before(parse_time("2024-03-31T05:00:00Z")) == parse_time("2024-03-02T05:00:00Z").ns
    assert (
        Span(years=1, hours=5).after(parse_time("2024-02-29T22:00:00+01:00")) == parse_time("2025-03-02T02:00:00Z").ns
    )


# -- policies --------------------------------------------------------------------------------------------------------


def test_an_empty_policy_keeps_nothing_and_is_refused() -> None:
    """`forget` without a policy must not remove everything."""
    assert Policy().is_empty
    assert not Policy(tags=[[""]]).is_empty
    assert not Policy(within=Span(hours=1)).is_empty
    with pytest.raises(UsageError, match="no policy was specified"):
        decide_groups(daily(3), Policy(), now_ns=NOW)
    (decision,) = decide_groups(daily(3), Policy(), now_ns=NOW, allow_remove_all=True)
    assert len(decision.remove) == 3


@pytest.mark.parametrize("name", [field.name for field in fields(Policy) if field.name != "tags"])
def test_negative_numbers_are_refused(name: str) -> None:
    """A minus that slipped in must not mean `keep none`."""
    with pytest.raises(UsageError):
        Policy(**{name: Span(days=-1) if name.startswith("within") else -2})  # type: ignore[arg-type]


def test_a_policy_in_words() -> None:
    """What is about to be applied is read before it is trusted."""
    assert str(Policy()) == "remove"
    assert str(Policy(last=3, weekly=UNLIMITED)) == "keep 3 latest, all weekly snapshots"
    policy = Policy(daily=7, within_monthly=Span(years=1), within=Span(days=2), tags=[["a", "b"], [""]])
    assert str(policy) == (
        "keep 7 daily snapshots, monthly snapshots within 1y and all snapshots with tags [[a, b] []] "
        "and all snapshots within 2d of the newest"
    )


def test_each_rule_keeps_the_newest_of_its_periods() -> None:
    """The reasons are what a person checks a policy with."""
    decision = apply_policy(daily(40), Policy(last=1, weekly=2, monthly=UNLIMITED), NOW)
    kept = {day: kept.reasons for kept, day in zip(decision.keep, days([k.stored for k in decision.keep]), strict=True)}
    assert kept == {
        "2024-05-31": ("last snapshot", "weekly snapshot", "monthly snapshot"),
        "2024-05-26": ("weekly snapshot",),
        "2024-04-30": ("monthly snapshot",),
        "2024-04-22": ("oldest monthly snapshot",),
    }
    assert len(decision.keep) + len(decision.remove) == 40


def test_within_counts_from_the_newest_that_is_not_of_the_future() -> None:
    """One snapshot of a machine with a wrong clock must not make all others old."""
    snapshots = [snapshot("2033-01-01T00:00:00Z"), *daily(10)]
    decision = apply_policy(snapshots, Policy(within=Span(days=3)), NOW)
    assert days([kept.stored for kept in decision.keep]) == ["2033-01-01", "2024-05-31", "2024-05-30", "2024-05-29"]


def test_a_policy_that_keeps_nothing_of_a_group_is_refused() -> None:
    """restic issue 4568: `--keep-tag typo` removed everything."""
    snapshots = [snapshot("2024-01-01T00:00:00Z", "good"), snapshot("2024-01-02T00:00:00Z", host="other")]
    with pytest.raises(LastSnapshotError, match=r'group "host other, path \[/a\]"'):
        decide_groups(snapshots, Policy(tags=[["good"]]), now_ns=NOW)
    assert len(decide_groups(snapshots, Policy(tags=[["good"], [""]]), now_ns=NOW)) == 2


# -- protection ------------------------------------------------------------------------------------------------------


def test_protected_snapshots_stay_and_say_why() -> None:
    """What was protected is gone for good if a policy removes it all the same."""
    later, over = Protection(Time(NOW + NS_PER_S)), Protection(Time(NOW - NS_PER_S))
    snapshots = [
        snapshot("2024-01-04T00:00:00Z", protection=Protection()),
        snapshot("2024-01-03T00:00:00Z", protection=Protection()),
        snapshot("2024-01-02T00:00:00Z", protection=later),
        snapshot("2024-01-01T00:00:00Z", protection=over),
    ]
    (decision,) = decide_groups(snapshots, Policy(last=1), now_ns=NOW)
    until = protected_at(snapshots[2].snapshot, NOW)
    assert until is not None
    assert until.startswith("protected until 2024-06-01 ")
    assert [kept.reasons for kept in decision.keep] == [("last snapshot", "protected"), ("protected",), (until,)]
    assert days(decision.remove) == ["2024-01-01"]


def test_a_protected_snapshot_does_not_hide_a_policy_that_keeps_nothing() -> None:
    """With a misspelt tag everything but the protected snapshot would go."""
    snapshots = [snapshot("2024-01-04T00:00:00Z", protection=Protection()), snapshot("2024-01-03T00:00:00Z")]
    with pytest.raises(LastSnapshotError):
        decide_groups(snapshots, Policy(tags=[["typo"]]), now_ns=NOW)
    assert decide_groups(snapshots[:1], Policy(tags=[["typo"]]), now_ns=NOW)[0].remove == []


# -- removal ---------------------------------------------------------------------------------------------------------


def stored_in(made: Handmade, count: int) -> list[StorageId]:
    """So many snapshots, saved."""
    return [made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(one.snapshot)) for one in daily(count)]


def test_only_what_was_asked_for_is_removed() -> None:
    """And each removal is told."""
    made = Handmade()
    ids = stored_in(made, 5)
    told: list[StorageId] = []
    result = remove_snapshots(made.repository, ids[:3], on_removed=lambda one, _error: told.append(one))
    assert result.removed == told == ids[:3]
    assert not result.failed
    assert {stored.id for stored in load_snapshots(made.repository)} == set(ids[3:])


def test_a_removal_that_fails_is_told_and_the_others_go_on() -> None:
    """One file that cannot be removed must not keep the rest of the night's work from being done."""
    backend = RecordingBackend(MemoryBackend())
    made = Handmade(backend)
    ids = stored_in(made, 4)
    backend.fail_after(1, times=1, operations=[Operation.REMOVE], error=BackendError("no", permanent=True))
    result = remove_snapshots(made.repository, ids)
    assert len(result.removed) == 3
    assert [str(error) for error in result.failed.values()] == ["no"]
    assert {stored.id for stored in load_snapshots(made.repository)} == set(result.failed)


def test_nothing_is_removed_without_the_lock() -> None:
    """Whoever broke our lock may be writing snapshots that share what we remove."""
    made = Handmade()
    ids = stored_in(made, 3)
    with RepositoryLock(made.repository, exclusive=True) as lock:
        assert lock.lock_id is not None
        made.repository.backend.remove(Handle(FileKind.LOCK, lock.lock_id.hex()))
        with pytest.raises(LockedError):
            remove_snapshots(made.repository, ids)
    assert len(load_snapshots(made.repository)) == 3


def test_no_span_is_false() -> None:
    """A rule that was not given must not count as one that keeps nothing."""
    assert not NO_SPAN
    assert Span(hours=1)
