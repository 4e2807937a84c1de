"""Repairs snapshots: what of them cannot be read any more is taken out, so that the rest can be restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from limpet.errors import LimpetError
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.gojson import go_quoted
from limpet.format.node import NodeType
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.rewrite.replace import Replacement, ReplaceOptions, SnapshotReplacer
from limpet.operations.rewrite.trees import TreeRewriter, changed_node
from limpet.progress import Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot

ADDED_TAG = "repaired"
_WITHOUT_USE = {"", "irregular"}


class SnapshotRepairer(SnapshotReplacer):
    """Repairs one snapshot after the other. Use it as a context manager; the index is loaded and sound.

    The caller holds an exclusive lock: a snapshot whose root is lost is removed.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        dry_run: bool = False,
        forget: bool = False,
        reporter: Reporter | None = None,
    ) -> None:
        super().__init__(repository, ReplaceOptions(ADDED_TAG, dry_run, forget))
        note = (reporter or SilentReporter()).note
        self._trees = TreeRewriter(repository, self.save_tree, _Rules(repository, note))

    def repair(self, stored: StoredSnapshot) -> Replacement:
        """The snapshot without what is damaged; UNCHANGED if nothing is."""
        return self.replace(stored, self._trees.rewrite)


class _Rules:
    """Takes out missing content of files, unreadable folders, and nodes that are nothing."""

    refuses_lossy: ClassVar[bool] = False
    ignores_paths: ClassVar[bool] = True

    def __init__(self, repository: Repository, note: Callable[[str], None]) -> None:
        self._find = repository.index.find
        self._note = note

    def node(self, path: bytes, fields: Fields) -> Fields | None:
        kind = read.string(fields, "type")
        if kind in _WITHOUT_USE:
            self._note(f'  file {go_quoted(path)}: removed node with invalid type "{kind}"')
            return None
        return self._file(path, fields) if kind == NodeType.FILE.value else fields

    def _file(self, path: bytes, fields: Fields) -> Fields:
        """The file with the content that there still is, and its size."""
        content = [BlobId(read.id_from_hex(text)) for text in read.array(fields, "content") or ()]
        found = [(blob_id, self._find(BlobKind.DATA, blob_id)) for blob_id in content]
        left = [blob_id for blob_id, place in found if place is not None]
        size = sum(place.data_length_bytes for _, place in found if place is not None)
        if len(left) < len(content):
            self._note(f"  file {go_quoted(path)}: removed missing content")
        elif size != read.uint(fields, "size"):
            self._note(f"  file {go_quoted(path)}: fixed incorrect size")
        elif fields.get("content") is not None:
            return fields
        return changed_node(fields, content=left, size=size)

    def keeps_empty(self, path: bytes) -> bool:
        return True

    def replaces_unreadable(self, path: bytes, error: LimpetError) -> bool:
        if path == b"/":
            self._note(f"  dir {go_quoted(path)}: not readable")
            return False
        self._note(f"  dir {go_quoted(path)}: replaced with empty directory")
        return True
