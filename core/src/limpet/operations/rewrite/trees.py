"""Rewrites trees by rules, from the leaves up: what no rule touches keeps its id, and its very bytes.

Nodes are handled as JSON fields, so that what Limpet does not know of them is written back as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from limpet.errors import BackendError, IntegrityError, LimpetError, MissingFileError, RepositoryError
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.gojson import go_quoted, unquote_name
from limpet.format.node import NodeType, decode_node, encode_node
from limpet.format.tree import decode_tree_fields, encode_tree, encode_tree_fields, reencodes, reencodes_fields
from limpet.ids import BlobId
from limpet.repository.repository import Repository

EMPTY_TREE = encode_tree(())


class TreeRules(Protocol):
    """What becomes of the entries of a snapshot."""

    refuses_lossy: ClassVar[bool]
    """Whether a tree that cannot be written back byte for byte is an error."""
    ignores_paths: ClassVar[bool]
    """Whether the same tree always becomes the same, wherever it is: then it is rewritten once."""

    def node(self, path: bytes, fields: Fields) -> Fields | None:
        """The node as it shall be: the same object where nothing changes; None to leave it out."""

    def keeps_empty(self, path: bytes) -> bool:
        """Whether a folder stays that has nothing in it any more."""

    def replaces_unreadable(self, path: bytes, error: LimpetError) -> bool:
        """For a folder that cannot be read: True makes it empty, False leaves it out. May raise the error."""


@dataclass(slots=True)
class _Folder:
    """A folder in work. `waiting` is the node of the folder in it that is being rewritten."""

    path: bytes
    tree_id: BlobId
    nodes: Iterator[Fields]
    kept: list[Fields] = field(default_factory=list)
    is_changed: bool = False
    waiting: Fields | None = None

    def take(self, subtree: BlobId | None) -> None:
        """The folder waited for is done: this is its tree; None leaves it out."""
        node, self.waiting = self.waiting, None
        assert node is not None
        if subtree is None:
            self.is_changed = True
            return
        text = subtree.hex()
        if node.get("subtree") != text:
            self.is_changed = True
            node = {**node, "subtree": text} if node.get("subtree") else changed_node(node, subtree=subtree)
        self.kept.append(node)


class TreeRewriter:
    """Rewrites trees of a repository; `save_tree` stores a new one and says its id."""

    def __init__(self, repository: Repository, save_tree: Callable[[bytes], BlobId], rules: TreeRules) -> None:
        self._repository = repository
        self._save_tree = save_tree
        self._rules = rules
        self._rewritten: dict[BlobId, BlobId | None] = {}

    def rewrite(self, root: BlobId | None) -> BlobId | None:
        """The tree that the root becomes; None if nothing is left of it.

        IntegrityError for a tree that would lose something, and what the rules raise for one that cannot be read.
        """
        # A stack of our own: a path may be thousands of folders deep.
        stack: list[_Folder] = []
        done = self._open(b"/", root)
        while True:
            if isinstance(done, _Folder):
                stack.append(done)
            elif stack:
                stack[-1].take(done)
            else:
                return done
            below = self._next_folder(stack[-1])
            done = self._close(stack.pop()) if below is None else self._open(*below)

    def _open(self, path: bytes, tree_id: BlobId | None) -> _Folder | BlobId | None:
        """The folder to work on; or, where there is no work to do, its tree or None."""
        if self._rules.ignores_paths and tree_id in self._rewritten:
            return self._rewritten[tree_id]
        try:
            if tree_id is None:
                raise RepositoryError(f"folder {go_quoted(path)} has no tree")
            data = self._repository.trees.read(tree_id)
            nodes = decode_tree_fields(data)
        except BackendError as error:
            if not isinstance(error, MissingFileError):
                raise  # a storage that does not answer is no damage
            return self._unreadable(path, error)
        except (IntegrityError, RepositoryError) as error:
            return self._unreadable(path, error)
        if self._rules.refuses_lossy and not (reencodes_fields(data, nodes) or reencodes(data)):
            raise IntegrityError(f"cannot encode tree at {go_quoted(path)} without losing information")
        return _Folder(path, tree_id, iter(nodes))

    def _unreadable(self, path: bytes, error: LimpetError) -> BlobId | None:
        return self._save_tree(EMPTY_TREE) if self._rules.replaces_unreadable(path, error) else None

    def _next_folder(self, folder: _Folder) -> tuple[bytes, BlobId | None] | None:
        """Go on until a folder is met that has to be done first: its path and tree. None at the end."""
        above = folder.path.rstrip(b"/") + b"/"
        for fields in folder.nodes:
            path = above + unquote_name(read.string(fields, "name"))
            kept = self._rules.node(path, fields)
            if kept is not fields:
                folder.is_changed = True
            if kept is None:
                continue
            if kept.get("type") == NodeType.DIR.value:
                folder.waiting = kept
                subtree = read.identifier(kept, "subtree")
                return path, None if subtree is None else BlobId(subtree)
            folder.kept.append(kept)
        return None

    def _close(self, folder: _Folder) -> BlobId | None:
        """The tree of a folder that is done; None for one that is left out."""
        if not folder.kept and not self._rules.keeps_empty(folder.path):
            return None
        tree_id = self._save_tree(encode_tree_fields(folder.kept)) if folder.is_changed else folder.tree_id
        if self._rules.ignores_paths:
            self._rewritten[folder.tree_id] = tree_id
        return tree_id


def changed_node(fields: Fields, **changes: object) -> Fields:
    """The node with other values, in the order of fields that restic writes."""
    node = decode_node(fields)
    for name, value in changes.items():
        setattr(node, name, value)
    return read.decode_object(encode_node(node), "a node")
