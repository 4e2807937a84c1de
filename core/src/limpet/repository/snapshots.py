"""The snapshots of a repository: loading, and selecting by id, `latest`, host, tags and paths as restic does."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from limpet.contracts.backend import FileKind
from limpet.errors import IntegrityError, LimpetError, MissingFileError, NotFoundError, UsageError
from limpet.format.node import NodeType
from limpet.format.snapshot import Snapshot, decode_snapshot
from limpet.ids import BlobId, StorageId, parse_storage_id, short
from limpet.repository.prefixes import find_file
from limpet.repository.threads import storage_threads

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

OnError = Callable[[str, LimpetError], None]
"""Told what could not be read, and why; the others are still delivered."""

BATCH = 8
"""Snapshots that one thread loads in a row: to wake another for each takes longer than to load it from the cache."""
LATEST = re.compile(r"latest(?:~([0-9]{1,9}))?")


class NoSnapshotError(NotFoundError):
    """No snapshot fits what was asked for."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot and the id it is stored under."""

    id: StorageId
    snapshot: Snapshot

    @property
    def time_ns(self) -> int:
        """When it was made, in nanoseconds since 1970 UTC."""
        return self.snapshot.time.ns


@dataclass(frozen=True, slots=True)
class SnapshotFilter:
    """Which snapshots count. Empty fields let everything pass.

    One of `hosts`; for `tags` all tags of one of the groups, where an empty tag stands for no tags at all;
    all of `paths`.
    """

    hosts: Sequence[str] = ()
    tags: Sequence[Sequence[str]] = ()
    paths: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether everything passes."""
        return not (self.hosts or self.tags or self.paths)

    def matches(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot passes."""
        return (
            (not self.hosts or snapshot.hostname in self.hosts)
            and (not self.tags or any(has_tags(snapshot, group) for group in self.tags))
            and set(self.paths) <= set(snapshot.paths)
        )

    def absolute(self) -> SnapshotFilter:
        """The same with relative paths taken from the working folder."""
        return SnapshotFilter(self.hosts, self.tags, [os.path.abspath(path) for path in self.paths])

    def __str__(self) -> str:
        tags = " ".join(f"[{', '.join(group)}]" for group in self.tags)
        return f"(Paths:[{' '.join(self.paths)}] Tags:[{tags}] Hosts:[{' '.join(self.hosts)}])"


NO_FILTER = SnapshotFilter()


@dataclass(frozen=True, slots=True)
class GroupBy:
    """What snapshots of one group have in common."""

    host: bool = False
    paths: bool = False
    tags: bool = False

    @classmethod
    def parse(cls, text: str) -> GroupBy:
        """From `host,paths,tags` in any order, each also in the other number; UsageError for another word."""
        words = {word for word in text.split(",") if word}
        unknown = words - {"host", "hosts", "path", "paths", "tag", "tags"}
        if unknown:
            raise UsageError(f'unknown grouping option: "{min(unknown)}"')
        return cls(bool(words & {"host", "hosts"}), bool(words & {"path", "paths"}), bool(words & {"tag", "tags"}))

    def __bool__(self) -> bool:
        return self.host or self.paths or self.tags


@dataclass(frozen=True, slots=True)
class SnapshotGroup:
    """Snapshots that have the key in common, oldest first. None for what the groups do not differ by."""

    hostname: str = ""
    paths: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    snapshots: list[StoredSnapshot] = field(default_factory=list, compare=False)


def load_snapshot(repository: Repository, snapshot_id: StorageId) -> StoredSnapshot:
    """One snapshot; IntegrityError naming it if it is damaged."""
    try:
        json = repository.load_unpacked(FileKind.SNAPSHOT, snapshot_id)
        return StoredSnapshot(snapshot_id, decode_snapshot(json))
    except IntegrityError as error:
        raise IntegrityError(f"failed to load snapshot {short(snapshot_id)}: {error}") from error


def load_snapshots(repository: Repository, on_error: OnError | None = None) -> list[StoredSnapshot]:
    """All snapshots, oldest first. Without `on_error` the first that is damaged raises."""
    ids = [parse_storage_id(info.name) for info in repository.list_files(FileKind.SNAPSHOT)]
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    snapshots: list[StoredSnapshot] = []
    with storage_threads(repository, len(batches)) as threads:
        loaded_batches = threads.map(lambda batch: [_try_load(repository, one) for one in batch], batches)
        for snapshot_id, loaded in zip(ids, chain.from_iterable(loaded_batches), strict=True):
            if isinstance(loaded, StoredSnapshot):
                snapshots.append(loaded)
            elif on_error is not None:
                on_error(snapshot_id.hex(), loaded)
            elif not isinstance(loaded, MissingFileError):  # removed by another since it was listed
                raise loaded
    return sorted(snapshots, key=lambda stored: stored.time_ns)


def find_snapshot(
    repository: Repository, text: str, snapshot_filter: SnapshotFilter = NO_FILTER
) -> tuple[StoredSnapshot, str]:
    """The snapshot that `ID`, a prefix of it, `latest` or `latest~N` names, and the folder after a colon.

    The filter counts for `latest` alone. NoSnapshotError where nothing fits, NotFoundError for an ambiguous prefix.
    """
    name, _, subfolder = text.partition(":")
    back = _steps_back(name)
    if back is None:
        return load_snapshot(repository, find_file(repository.backend, FileKind.SNAPSHOT, name)), subfolder
    return find_latest(load_snapshots(repository), snapshot_filter, back=back), subfolder


def find_latest(
    snapshots: Iterable[StoredSnapshot],
    snapshot_filter: SnapshotFilter = NO_FILTER,
    *,
    back: int = 0,
    not_after_ns: int | None = None,
) -> StoredSnapshot:
    """The newest snapshot that passes the filter, or the one `back` steps before it; NoSnapshotError for none."""
    absolute = snapshot_filter.absolute()
    fitting = sorted(
        (
            stored
            for stored in snapshots
            if (not_after_ns is None or stored.time_ns <= not_after_ns) and absolute.matches(stored.snapshot)
        ),
        key=lambda stored: stored.time_ns,
    )
    if back >= len(fitting):
        missing = f"latest~{back}: only {len(fitting)} snapshots found" if fitting else "no snapshot found"
        raise NoSnapshotError(f"snapshot filter {absolute}: {missing}")
    return fitting[-1 - back]


def select_snapshots(
    repository: Repository,
    names: Sequence[str],
    snapshot_filter: SnapshotFilter = NO_FILTER,
    on_error: OnError | None = None,
) -> list[StoredSnapshot]:
    """The snapshots that are named, each once, in that order; without names all that pass the filter, oldest first.

    Without `on_error` the first that cannot be found or read raises.
    """
    if not names:
        return [one for one in load_snapshots(repository, on_error) if snapshot_filter.matches(one.snapshot)]
    chosen: dict[StorageId, StoredSnapshot] = {}
    for name in names:
        try:
            if ":" in name:
                raise UsageError("<snapshot>:<subfolder> syntax not allowed")
            stored, _ = find_snapshot(repository, name, snapshot_filter)
            chosen.setdefault(stored.id, stored)
        except NoSnapshotError as error:
            missing = NoSnapshotError(f"no snapshot matched given filter {snapshot_filter.absolute()}")
            if on_error is None:
                raise missing from error
            on_error(name, missing)
        except LimpetError as error:
            if on_error is None:
                raise
            on_error(name, error)
    if not snapshot_filter.is_empty and all(_steps_back(name) is None for name in names):
        unused = UsageError("explicit snapshot ids are given")
        if on_error is None:
            raise unused
        on_error("filters", unused)
    return list(chosen.values())


def find_parent(
    repository: Repository,
    name: str | None,
    snapshot_filter: SnapshotFilter,
    *,
    not_after_ns: int | None = None,
) -> StoredSnapshot | None:
    """The snapshot a backup compares with: the named one, else the newest that passes the filter, or None.

    Never newer than `not_after_ns`. Errors as `find_snapshot`, where one is named.
    """
    if name is not None and _steps_back(name) is None:
        return find_snapshot(repository, name)[0]
    back = _steps_back(name) or 0 if name else 0
    try:
        return find_latest(load_snapshots(repository), snapshot_filter, back=back, not_after_ns=not_after_ns)
    except NoSnapshotError:
        if name is not None:
            raise
        return None


def group_snapshots(snapshots: Iterable[StoredSnapshot], by: GroupBy) -> list[SnapshotGroup]:
    """The snapshots by what they have in common, groups in the order in which they are first met."""
    groups: dict[SnapshotGroup, SnapshotGroup] = {}
    for stored in snapshots:
        snapshot = stored.snapshot
        key = SnapshotGroup(
            snapshot.hostname if by.host else "",
            tuple(sorted(snapshot.paths)) if by.paths else None,
            tuple(sorted(snapshot.tags)) if by.tags and snapshot.tags else None,
        )
        groups.setdefault(key, key).snapshots.append(stored)
    return list(groups.values())


def latest_of_each(snapshots: Iterable[StoredSnapshot], count: int) -> list[StoredSnapshot]:
    """The newest `count` snapshots of each host and set of paths, newest first."""
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    kept = []
    for stored in sorted(snapshots, key=lambda one: one.time_ns, reverse=True):
        key = (stored.snapshot.hostname, tuple(sorted(stored.snapshot.paths)))
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= count:
            kept.append(stored)
    return kept


def tree_of(repository: Repository, stored: StoredSnapshot, subfolder: str = "") -> BlobId:
    """The tree of the snapshot, or of a folder in it; NotFoundError where there is no such folder."""
    tree_id = stored.snapshot.tree
    if tree_id is None:
        raise IntegrityError(f"snapshot {short(stored.id)} names no tree")
    walked: list[str] = []
    for name in subfolder.split("/"):
        if name in {"", "."}:
            continue
        walked.append(name)
        wanted = name.encode("utf-8", "surrogateescape")
        node = next((node for node in repository.load_tree(tree_id) if node.name == wanted), None)
        if node is None:
            raise NotFoundError(f"path {'/'.join(walked)}: not found")
        if node.type is not NodeType.DIR or node.subtree is None:
            raise NotFoundError(f"path {'/'.join(walked)}: not a directory")
        tree_id = node.subtree
    return tree_id


def _try_load(repository: Repository, snapshot_id: StorageId) -> StoredSnapshot | LimpetError:
    try:
        return load_snapshot(repository, snapshot_id)
    except LimpetError as error:
        return error


def _steps_back(name: str) -> int | None:
    """How far before the latest snapshot the name points; None if it is an id."""
    match = LATEST.fullmatch(name)
    return None if match is None else int(match[1] or 0)


def has_tags(snapshot: Snapshot, group: Sequence[str]) -> bool:
    """Whether the snapshot has all tags of the group; an empty one stands for no tags at all."""
    # As restic: where an empty tag fits, the rest of the group is not looked at.
    for tag in group:
        if tag == "" and not snapshot.tags:
            return True
        if tag not in snapshot.tags:
            return False
    return True
