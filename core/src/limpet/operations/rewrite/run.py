"""Rewrites snapshots: paths left out, another host or time, the sums of a summary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from limpet.errors import LimpetError, RepositoryError
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.node import NodeType
from limpet.format.snapshot import SnapshotSummary
from limpet.ids import BlobId, short
from limpet.operations.rewrite.filters import PathFilter
from limpet.operations.rewrite.replace import SAME_METADATA, NewMetadata, Replacement, ReplaceOptions, SnapshotReplacer
from limpet.operations.rewrite.trees import TreeRewriter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot

ADDED_TAG = "rewrite"


@dataclass(frozen=True, slots=True)
class RewriteOptions:
    """What is to be different."""

    keep: PathFilter | None = None
    summary: bool = False
    """Whether files and bytes are counted although nothing is left out."""
    metadata: NewMetadata = SAME_METADATA
    forget: bool = False
    """The old snapshots are removed: the caller holds an exclusive lock."""
    dry_run: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether nothing at all is asked for."""
        return self.keep is None and not self.summary and not self.metadata


class SnapshotRewriter(SnapshotReplacer):
    """Rewrites one snapshot after the other. Use it as a context manager; the index is loaded."""

    def __init__(self, repository: Repository, options: RewriteOptions) -> None:
        keep = options.keep
        super().__init__(
            repository,
            ReplaceOptions(
                ADDED_TAG,
                options.dry_run,
                options.forget,
                options.metadata,
                keeps_emptied=keep is not None and keep.keeps_emptied_snapshot,
                makes_trees=keep is not None,
            ),
        )
        self._rewrite = options

    def rewrite(self, stored: StoredSnapshot) -> Replacement:
        """The snapshot made anew; IntegrityError for a tree that would lose something or cannot be read."""
        if stored.snapshot.tree is None:
            raise RepositoryError(f"snapshot {short(stored.id)} has nil tree")
        if self._rewrite.keep is None and not self._rewrite.summary:
            return self.replace(stored, lambda root: root)
        rules = _Rules(self._rewrite.keep)

        def make_tree(root: BlobId | None) -> BlobId | None:
            return TreeRewriter(self.repository, self.save_tree, rules).rewrite(root)

        def make_summary() -> SnapshotSummary:
            return replace(
                stored.snapshot.summary or SnapshotSummary(),
                total_files_processed=rules.files,
                total_bytes_processed=rules.size_bytes,
            )

        return self.replace(stored, make_tree, make_summary)


class _Rules:
    """Leaves out what the filter does, and counts the files that stay."""

    refuses_lossy: ClassVar[bool] = True
    ignores_paths: ClassVar[bool] = False

    def __init__(self, keep: PathFilter | None) -> None:
        self._keep = keep
        self.files = 0
        self.size_bytes = 0

    def node(self, path: bytes, fields: Fields) -> Fields | None:
        kind = fields.get("type")
        if self._keep is not None and not self._keep.keeps(path, is_folder=kind == NodeType.DIR.value):
            return None
        if kind == NodeType.FILE.value:
            self.files += 1
            self.size_bytes += read.uint(fields, "size")
        return fields

    def keeps_empty(self, path: bytes) -> bool:
        return self._keep is None or self._keep.keeps_empty(path)

    def replaces_unreadable(self, path: bytes, error: LimpetError) -> bool:
        raise error
