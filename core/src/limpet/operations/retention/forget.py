"""Applies a policy to the snapshots of a repository, group by group, and removes what it does not keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, RepositoryError, UsageError
from limpet.format.snapshot import Snapshot
from limpet.format.timestamps import NS_PER_S, local_second
from limpet.ids import StorageId, parse_storage_id
from limpet.operations.removal import remove_files
from limpet.operations.retention.decide import Decision, Kept, apply_policy
from limpet.operations.retention.policy import Policy
from limpet.progress import Reporter, SilentReporter
from limpet.repository.snapshots import GroupBy, SnapshotGroup, StoredSnapshot, group_snapshots

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

PER_HOST_AND_PATHS = GroupBy(host=True, paths=True)


class LastSnapshotError(RepositoryError):
    """A policy would leave nothing of a group: more likely a mistake than a wish."""


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """What becomes of the snapshots of one group; newest first, each kept one with its reasons."""

    group: SnapshotGroup
    keep: Sequence[Kept]
    remove: Sequence[StoredSnapshot]


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """Which snapshots are gone, and why the others are not."""

    removed: list[StorageId]
    failed: dict[StorageId, BackendError]


def decide_groups(
    snapshots: Iterable[StoredSnapshot],
    policy: Policy,
    by: GroupBy = PER_HOST_AND_PATHS,
    *,
    now_ns: int,
    allow_remove_all: bool = False,
) -> list[GroupDecision]:
    """What the policy keeps and removes of each group. A protected snapshot is kept, whatever the policy says.

    UsageError for an empty policy, unless `allow_remove_all`; LastSnapshotError where a policy that is not empty keeps
    nothing of a group: a tag may be misspelt.
    """
    if policy.is_empty and not allow_remove_all:
        raise UsageError("no policy was specified, no snapshots will be removed")
    decisions = []
    for group in group_snapshots(snapshots, by):
        decision = apply_policy(group.snapshots, policy, now_ns)
        protected = with_protected(decision, now_ns)
        if not policy.is_empty and not decision.keep and protected.remove:
            raise LastSnapshotError(f'refusing to delete last snapshot of snapshot group "{_group_text(group)}"')
        decisions.append(GroupDecision(group, protected.keep, protected.remove))
    return decisions


def with_protected(decision: Decision, now_ns: int) -> Decision:
    """The decision with its protected snapshots among those that are kept."""
    keep, remove = [], []
    undecided = [*decision.keep, *(Kept(stored, ()) for stored in decision.remove)]
    for kept in sorted(undecided, key=lambda one: one.stored.time_ns, reverse=True):
        protection = protected_at(kept.stored.snapshot, now_ns)
        reasons = (*kept.reasons, protection) if protection else kept.reasons
        if reasons:
            keep.append(Kept(kept.stored, reasons))
        else:
            remove.append(kept.stored)
    return Decision(keep, remove)


def protected_at(snapshot: Snapshot, now_ns: int) -> str | None:
    """`protected`, or `protected until 2027-01-01 00:00:00` in the local zone; None for a snapshot that is not."""
    protection = snapshot.protection
    if protection is None or not protection.holds_at(now_ns):
        return None
    if protection.until is None:
        return "protected"
    date_and_time, _zone = local_second(protection.until.ns // NS_PER_S)
    return f"protected until {date_and_time.replace('T', ' ')}"


def remove_snapshots(
    repository: Repository,
    snapshot_ids: Sequence[StorageId],
    reporter: Reporter | None = None,
    on_removed: Callable[[StorageId, BackendError | None], None] | None = None,
) -> RemovalResult:
    """Remove the snapshot files, several at once; `on_removed` is told of each, with the error if it failed.

    The caller holds an exclusive lock, which is looked up again before each removal: LockedError if it is gone.
    """
    result = RemovalResult([], {})

    def removed(handle: Handle, error: BackendError | None) -> None:
        snapshot_id = parse_storage_id(handle.name)
        if error is None:
            result.removed.append(snapshot_id)
        else:
            result.failed[snapshot_id] = error
        if on_removed is not None:
            on_removed(snapshot_id, error)

    names = [snapshot_id.hex() for snapshot_id in snapshot_ids]
    remove_files(repository, FileKind.SNAPSHOT, names, reporter or SilentReporter(), removed)
    return result


def _group_text(group: SnapshotGroup) -> str:
    parts = [f"host {group.hostname}"] if group.hostname else []
    parts += [f"path [{' '.join(group.paths)}]"] if group.paths else []
    parts += [f"tags [{' '.join(group.tags)}]"] if group.tags else []
    return ", ".join(parts)
