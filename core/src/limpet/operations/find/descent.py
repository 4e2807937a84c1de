"""The way down through a snapshot that every search takes: folders that cannot be read are told of and passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from limpet.errors import IntegrityError, LimpetError, RepositoryError
from limpet.format.fields import Fields
from limpet.format.node import subtree_of
from limpet.ids import BlobId, short
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot

OnTreeError = Callable[[StoredSnapshot, BlobId, LimpetError], None]
"""Told of a folder that cannot be read: its snapshot and the tree that it is in. The search goes on beside it."""

ROOT = b"/"


def root_of(stored: StoredSnapshot) -> BlobId:
    """The snapshot's tree; RepositoryError if it names none."""
    if stored.snapshot.tree is None:
        raise RepositoryError(f"snapshot {short(stored.id)} has no tree")
    return stored.snapshot.tree


def subtree_at(fields: Fields, path: bytes) -> BlobId:
    """The tree of a folder; IntegrityError if it names none."""
    subtree = subtree_of(fields)
    if subtree is None:
        raise IntegrityError(f"subtree for node {path.decode('utf-8', 'backslashreplace')} is nil")
    return subtree


def read_tree(
    repository: Repository, stored: StoredSnapshot, tree_id: BlobId, parent_id: BlobId, on_error: OnTreeError | None
) -> Iterator[Fields] | None:
    """The nodes of the tree; None if it cannot be read and that was told. Without `on_error` it raises."""
    try:
        return repository.iter_tree_fields(tree_id)
    except LimpetError as error:
        if on_error is None:
            raise
        on_error(stored, parent_id, error)
        return None
