"""Where blobs and trees are used: the files and folders that refer to them, in one snapshot after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.node import raw_name
from limpet.format.pack import BlobKind
from limpet.ids import SHORT_HEX, BlobId
from limpet.operations.find.descent import ROOT, OnTreeError, read_tree, root_of, subtree_at
from limpet.operations.find.memory import SeenTrees
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot


@dataclass(slots=True)
class ObjectIds:
    """What is looked for: hex ids of blobs of data and of trees, whole or their first 8 digits, in order."""

    blobs: dict[str, None] = field(default_factory=dict)
    trees: dict[str, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.blobs or self.trees)

    def wants_blob(self, blob_hex: str) -> bool:
        """Whether it is one of the blobs. As in restic, a short id stands for the first blob that it fits."""
        if blob_hex in self.blobs:
            return True
        if blob_hex[:SHORT_HEX] not in self.blobs:
            return False
        self.blobs[blob_hex] = None
        del self.blobs[blob_hex[:SHORT_HEX]]
        return True

    def wants_tree(self, tree_hex: str) -> bool:
        """Whether it is one of the trees."""
        return tree_hex in self.trees or tree_hex[:SHORT_HEX] in self.trees


@dataclass(frozen=True, slots=True)
class FoundObject:
    """A use of a blob: by a file in the tree `parent_tree`, or as a folder's tree."""

    snapshot: StoredSnapshot
    kind: BlobKind
    id: BlobId
    path: bytes
    parent_tree: BlobId | None


_Use = tuple[BlobKind, BlobId, bytes, BlobId | None]


@dataclass(slots=True)
class _Search:
    repository: Repository
    ids: ObjectIds
    on_error: OnTreeError | None
    seen: SeenTrees[_Use]
    trees_found: int = 0

    def all_trees_found(self, use: _Use) -> bool:
        """Count the use. As in restic, once there were as many as trees are wanted, one more ends each snapshot."""
        self.trees_found += use[0] is BlobKind.TREE
        is_enough = self.trees_found >= len(self.ids.trees) and not self.ids.blobs
        return use[0] is BlobKind.TREE and is_enough


def find_objects(
    repository: Repository, snapshots: Sequence[StoredSnapshot], ids: ObjectIds, on_error: OnTreeError | None = None
) -> Iterator[FoundObject]:
    """Every use of one of the ids, snapshot by snapshot; where only trees are wanted, their first use in each.

    The index is loaded before. Without `on_error` a tree that cannot be read raises.
    """
    search = _Search(repository, ids, on_error, SeenTrees(enabled=len(snapshots) > 1))
    for stored in snapshots:
        search.seen.next_snapshot()
        for use in _uses(search, stored):
            search.seen.found(use)
            yield FoundObject(stored, *use)
            if search.all_trees_found(use):
                break


def _uses(search: _Search, stored: StoredSnapshot) -> Iterator[_Use]:
    ids, seen = search.ids, search.seen
    root_id = root_of(stored)
    stack: list[tuple[bytes, BlobId, Iterator[Fields]]] = []

    def enter(path: bytes, tree_id: BlobId, parent_id: BlobId) -> bool:
        nodes = read_tree(search.repository, stored, tree_id, parent_id, search.on_error)
        if nodes is None:
            return False
        stack.append((path if path == ROOT else path + b"/", tree_id, nodes))
        return True

    if not enter(ROOT, root_id, root_id):
        return
    if ids.trees and ids.wants_tree(root_id.hex()):
        yield BlobKind.TREE, root_id, ROOT, None
    seen.enter()
    while stack:
        prefix, tree_id, nodes = stack[-1]
        for fields in nodes:
            node_type = fields.get("type")
            if node_type == "file" and ids.blobs:
                for blob_hex in read.array(fields, "content") or ():
                    if ids.wants_blob(blob_hex):
                        blob_id = BlobId(read.id_from_hex(blob_hex))
                        yield BlobKind.DATA, blob_id, prefix + raw_name(fields), tree_id
            elif node_type == "dir":
                path = prefix + raw_name(fields)
                subtree = subtree_at(fields, path)
                known = seen.get(subtree, path)
                if known is None and not enter(path, subtree, tree_id):
                    continue
                if ids.trees and ids.wants_tree(subtree.hex()):
                    yield BlobKind.TREE, subtree, path, None
                if known is None:
                    seen.enter()
                    break
                yield from known
        else:
            stack.pop()
            seen.leave(tree_id, prefix[:-1] or ROOT)
