"""The blobs that snapshots need: every tree below their roots and all content of the files in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from limpet.ids import BlobId
from limpet.repository.repository import Repository


@dataclass(slots=True)
class UsedBlobs:
    """Ids of blobs, by kind."""

    trees: set[BlobId] = field(default_factory=set)
    data: set[BlobId] = field(default_factory=set)


def find_used_blobs(repository: Repository, roots: Iterable[BlobId]) -> UsedBlobs:
    """All blobs that the trees and everything below them name; each tree is read once. Errors as `load_tree`."""
    used = UsedBlobs()
    waiting = list(roots)
    while waiting:
        tree_id = waiting.pop()
        if tree_id in used.trees:
            continue
        used.trees.add(tree_id)
        for node in repository.load_tree(tree_id):
            if node.subtree is not None:
                waiting.append(node.subtree)
            used.data.update(node.content or ())
    return used
