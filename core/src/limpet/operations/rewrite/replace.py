"""Stores a snapshot that was made from another, and removes the other if that is wanted.

The order is the one that every crash may interrupt: packs, the index that names them, the new snapshot, and only then
the old one goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from types import TracebackType
from typing import Self

from limpet.contracts.backend import FileKind
from limpet.errors import RepositoryError
from limpet.format.snapshot import Snapshot, SnapshotSummary, encode_snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, short
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.repository.snapshots import StoredSnapshot


@dataclass(frozen=True, slots=True)
class NewMetadata:
    """What the new snapshot says of itself; what is empty stays as it was."""

    hostname: str = ""
    time: Time | None = None

    def __bool__(self) -> bool:
        return bool(self.hostname) or self.time is not None


SAME_METADATA = NewMetadata()


@dataclass(frozen=True, slots=True)
class ReplaceOptions:
    """How snapshots are replaced."""

    added_tag: str
    """Marks the new snapshot where the old one stays."""
    dry_run: bool = False
    """Nothing is stored and nothing removed."""
    forget: bool = False
    """The old snapshot is removed."""
    metadata: NewMetadata = SAME_METADATA
    keeps_emptied: bool = False
    """Whether a snapshot of which nothing is left stays as it is; else it is removed."""
    makes_trees: bool = True
    """Whether there may be new trees to store."""


class Outcome(Enum):
    """What became of a snapshot."""

    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    """There is a new one."""
    EMPTIED = "emptied"
    """Nothing is left of it, and it is removed."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What became of a snapshot; or with a dry run what would. `new` is not set by a dry run."""

    outcome: Outcome
    new: StoredSnapshot | None = None


class SnapshotReplacer:
    """Makes new snapshots from old ones. Use it as a context manager; the caller holds the lock.

    An exclusive one where a snapshot may have to be removed.
    """

    def __init__(self, repository: Repository, options: ReplaceOptions) -> None:
        self.repository = repository
        self.options = options
        self._saver: BlobSaver | None = None

    def save_tree(self, data: bytes) -> BlobId:
        """The id of the tree, which is stored before the next snapshot; with a dry run only its id."""
        if self._saver is not None:
            return self._saver.save_tree(data)
        return BlobId(sha256(data).digest())

    def replace(
        self,
        stored: StoredSnapshot,
        make_tree: Callable[[BlobId | None], BlobId | None],
        make_summary: Callable[[], SnapshotSummary | None] = lambda: None,
    ) -> Replacement:
        """Have a new tree and then a new summary made, and store a snapshot with them if anything is different.

        RepositoryError if a protected snapshot would have to be removed.
        """
        old, options = stored.snapshot, self.options
        tree_id = make_tree(old.tree)
        summary = make_summary()
        if self._saver is not None:
            self._saver.flush()
        if tree_id is None:
            if options.keeps_emptied:
                return Replacement(Outcome.UNCHANGED)
            self._remove(stored)
            return Replacement(Outcome.EMPTIED)
        if tree_id == old.tree and not options.metadata and summary in (None, old.summary):
            return Replacement(Outcome.UNCHANGED)
        if options.forget:
            refuse_protected(stored)
        if options.dry_run:
            return Replacement(Outcome.REPLACED)
        new = self._changed(stored, tree_id, summary)
        new_id = self.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(new))
        if options.forget:
            self._remove(stored)
        return Replacement(Outcome.REPLACED, StoredSnapshot(new_id, new))

    def _changed(self, stored: StoredSnapshot, tree_id: BlobId, summary: SnapshotSummary | None) -> Snapshot:
        old, options = stored.snapshot, self.options
        tag = options.added_tag
        return replace(
            old,
            original=stored.id,  # whatever it was before: in content this is another snapshot
            tree=tree_id,
            summary=old.summary if summary is None else summary,
            tags=old.tags if options.forget or tag in old.tags else [*old.tags, tag],
            time=options.metadata.time or old.time,
            hostname=options.metadata.hostname or old.hostname,
        )

    def _remove(self, stored: StoredSnapshot) -> None:
        refuse_protected(stored)
        if not self.options.dry_run:
            self.repository.remove_unpacked(FileKind.SNAPSHOT, stored.id)

    def __enter__(self) -> Self:
        if self.options.makes_trees and not self.options.dry_run:
            self._saver = BlobSaver(self.repository)
            self.repository.trees.open_ahead = self._saver.open_trees
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.repository.trees.open_ahead = None
        if self._saver is None:
            return
        if error is None:
            self._saver.close()
        else:
            self._saver.abandon()


def refuse_protected(stored: StoredSnapshot) -> None:
    """RepositoryError for a snapshot that must not be removed now."""
    protection = stored.snapshot.protection
    if protection is not None and protection.holds_at(time.time_ns()):
        raise RepositoryError(f"snapshot {short(stored.id)} is protected and stays; `limpet unprotect` ends that")
