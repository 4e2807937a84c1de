"""The part of the public library that says what a snapshot is, keeps it, and lets it go."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from limpet.errors import RepositoryError, UsageError
from limpet.format.snapshot import Protection
from limpet.format.timestamps import Time
from limpet.ids import short
from limpet.library.basics import SnapshotName
from limpet.operations import annotate
from limpet.operations.retention import GroupDecision, Policy, RemovalResult, decide_groups, protected_at
from limpet.operations.retention import remove_snapshots as run_removal
from limpet.progress import Reporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import (
    NO_FILTER,
    GroupBy,
    SnapshotFilter,
    StoredSnapshot,
    find_snapshot,
    load_snapshots,
)

Change = Callable[[StoredSnapshot], StoredSnapshot | None]


def forget(
    repository: Repository,
    policy: Policy,
    *,
    chosen: SnapshotFilter = NO_FILTER,
    group_by: str = "host,paths",
    dry_run: bool = False,
    allow_remove_all: bool = False,
    reporter: Reporter | None = None,
) -> list[GroupDecision]:
    """Remove the chosen snapshots that the policy does not keep, of each group; what was decided, with reasons.

    Protected snapshots stay. RepositoryError where the policy would leave nothing of a group, and where a snapshot
    cannot be removed; UsageError for an empty policy without `allow_remove_all` and a filter.
    """
    if policy.is_empty and chosen.is_empty:
        raise UsageError("an empty policy removes all: say with a filter which snapshots are meant")
    with repository.lock(exclusive=True):
        found = [stored for stored in load_snapshots(repository) if chosen.matches(stored.snapshot)]
        groups = decide_groups(
            found, policy, GroupBy.parse(group_by), now_ns=time.time_ns(), allow_remove_all=allow_remove_all
        )
        if not dry_run:
            _remove(repository, [stored for group in groups for stored in group.remove], reporter)
    return groups


def remove_snapshots(
    repository: Repository, snapshots: Sequence[SnapshotName], reporter: Reporter | None = None
) -> None:
    """Remove these snapshots. RepositoryError, and none is removed, if one of them is protected or is not there."""
    with repository.lock(exclusive=True):
        found = [_find(repository, one) for one in snapshots]
        for stored in found:
            if protection := protected_at(stored.snapshot, time.time_ns()):
                raise RepositoryError(f"snapshot {short(stored.id)} is {protection}; `unprotect` it first")
        _remove(repository, found, reporter)


def tag(
    repository: Repository,
    snapshot: SnapshotName,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    instead: Sequence[str] = (),
) -> StoredSnapshot:
    """The snapshot with its tags changed, under a new id; the same one if nothing changes."""
    change = annotate.TagChange(instead, add, remove)
    return _changed(repository, snapshot, lambda stored: annotate.change_tags(repository, stored, change))


def describe(repository: Repository, snapshot: SnapshotName, text: str) -> StoredSnapshot:
    """The snapshot with this description, under a new id; the same one if it has it already."""
    return _changed(repository, snapshot, lambda stored: annotate.describe(repository, stored, text))


def protect(repository: Repository, snapshot: SnapshotName, *, until_ns: int | None = None) -> StoredSnapshot:
    """The snapshot kept from being forgotten, for ever or until then (nanoseconds since 1970), under a new id."""
    protection = Protection(None if until_ns is None else Time(until_ns))
    return _changed(repository, snapshot, lambda stored: annotate.protect(repository, stored, protection))


def unprotect(repository: Repository, snapshot: SnapshotName) -> StoredSnapshot:
    """The snapshot protected no more, under a new id; the same one if it was not."""
    return _changed(repository, snapshot, lambda stored: annotate.protect(repository, stored, None))


def _changed(repository: Repository, snapshot: SnapshotName, change: Change) -> StoredSnapshot:
    with repository.lock(exclusive=True):
        stored = _find(repository, snapshot)
        return change(stored) or stored


def _find(repository: Repository, snapshot: SnapshotName) -> StoredSnapshot:
    if isinstance(snapshot, StoredSnapshot):
        return snapshot
    stored, subfolder = find_snapshot(repository, snapshot)
    if subfolder:
        raise UsageError(f"{snapshot!r} names a folder in a snapshot; a whole snapshot is wanted")
    return stored


def _remove(repository: Repository, snapshots: Sequence[StoredSnapshot], reporter: Reporter | None) -> None:
    result: RemovalResult = run_removal(repository, [stored.id for stored in snapshots], reporter)
    if result.failed:
        first = next(iter(result.failed.values()))
        raise RepositoryError(f"{len(result.failed)} of {len(snapshots)} snapshots could not be removed: {first}")
