"""The part of the public library that searches, compares, measures and dumps snapshots."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limpet.library.basics import SnapshotName
from limpet.operations.diff import Change, DiffCounts
from limpet.operations.diff import diff as run_diff
from limpet.operations.dump import Archive, Writable
from limpet.operations.dump import dump as run_dump
from limpet.operations.find import FindQuery, Match, Version, group_versions
from limpet.operations.find import find as run_find
from limpet.operations.stats import CountMode, Stats
from limpet.operations.stats import stats as run_stats
from limpet.repository.repository import Repository
from limpet.repository.snapshots import (
    NO_FILTER,
    SnapshotFilter,
    StoredSnapshot,
    find_snapshot,
    load_snapshots,
    tree_of,
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed from one snapshot to another: change by change, and in sums."""

    changes: list[Change]
    changed_files: int
    added: DiffCounts
    removed: DiffCounts


def find(
    repository: Repository,
    patterns: Sequence[str],
    *,
    chosen: SnapshotFilter = NO_FILTER,
    ignore_case: bool = False,
    oldest_ns: int | None = None,
    newest_ns: int | None = None,
) -> Iterator[Match]:
    """Every entry whose path fits one of the patterns, youngest snapshot first.

    The two times, in nanoseconds since 1970, say when it was modified. UsageError for an invalid pattern.
    """
    query = FindQuery(patterns, ignore_case=ignore_case, oldest_ns=oldest_ns, newest_ns=newest_ns)
    snapshots = _chosen(repository, chosen)[::-1]
    repository.refresh_index()
    return run_find(repository, snapshots, query)


def find_versions(
    repository: Repository,
    patterns: Sequence[str],
    *,
    chosen: SnapshotFilter = NO_FILTER,
    ignore_case: bool = False,
) -> list[Version]:
    """Each version of every file that fits once, with the snapshots that hold it, by path."""
    return group_versions(find(repository, patterns, chosen=chosen, ignore_case=ignore_case))


def diff(
    repository: Repository, first: SnapshotName, second: SnapshotName, *, with_metadata: bool = False
) -> Difference:
    """What changed from the first snapshot to the second; with `with_metadata` also where content is the same."""
    found = [
        (one, "") if isinstance(one, StoredSnapshot) else find_snapshot(repository, one) for one in (first, second)
    ]
    repository.refresh_index()
    before, after = (tree_of(repository, stored, subfolder) for stored, subfolder in found)
    changes: list[Change] = []
    result = run_diff(repository, before, after, with_metadata=with_metadata, on_change=changes.append)
    return Difference(changes, result.changed_files, result.added, result.removed)


def stats(
    repository: Repository, *, chosen: SnapshotFilter = NO_FILTER, mode: CountMode = CountMode.RESTORE_SIZE
) -> Stats:
    """How large the chosen snapshots are together, counted in one of four ways."""
    snapshots = _chosen(repository, chosen)
    repository.refresh_index()
    return run_stats(repository, snapshots, mode)


def dump(
    repository: Repository,
    path: str | bytes,
    out: Writable,
    snapshot: SnapshotName = "latest",
    *,
    archive: Archive = Archive.TAR,
) -> None:
    """Write a file's content, or a folder as an archive, to the stream; RepositoryError if there is no such path."""
    stored, subfolder = (snapshot, "") if isinstance(snapshot, StoredSnapshot) else find_snapshot(repository, snapshot)
    repository.refresh_index()
    run_dump(repository, tree_of(repository, stored, subfolder), os.fsencode(path), out, archive=archive)


def _chosen(repository: Repository, chosen: SnapshotFilter) -> list[StoredSnapshot]:
    return [stored for stored in load_snapshots(repository) if chosen.matches(stored.snapshot)]
