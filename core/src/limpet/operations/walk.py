"""Everything below a tree, depth first, and single entries by their path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.errors import LimpetError, RepositoryError
from limpet.format.fields import Fields
from limpet.format.node import Node, decode_node, raw_name, subtree_of
from limpet.ids import BlobId

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

OnTreeError = Callable[[bytes, LimpetError], None]
"""Told of a folder whose tree cannot be read, and why; the walk goes on beside it."""


@dataclass(frozen=True, slots=True)
class FoundNode:
    """An entry by its path; the root folder has a tree but no node."""

    path: bytes
    node: Node | None
    tree_id: BlobId | None


def walk(
    repository: Repository,
    tree_id: BlobId,
    *,
    root: bytes = b"/",
    descend: Callable[[bytes, Node], bool] | None = None,
    on_error: OnTreeError | None = None,
) -> Iterator[tuple[bytes, Node]]:
    """Path and node of everything below the tree, each folder before what is in it, by raw name.

    `descend` is asked for each folder after it was yielded whether to go into it. Without `on_error` a tree that
    cannot be read raises.
    """
    wanted = None if descend is None else lambda path, fields: descend(path, decode_node(fields))
    for path, fields in walk_fields(repository, tree_id, root=root, descend=wanted, on_error=on_error):
        yield path, decode_node(fields)


def walk_fields(
    repository: Repository,
    tree_id: BlobId,
    *,
    root: bytes = b"/",
    descend: Callable[[bytes, Fields], bool] | None = None,
    on_error: OnTreeError | None = None,
) -> Iterator[tuple[bytes, Fields]]:
    """`walk` for whoever looks at few fields of many nodes: each node as its JSON object, a fifth of the work.

    Nothing in the objects is checked but name, type and subtree: read the rest with `limpet.format.fields`.
    """
    # A stack of our own: a path may be thousands of folders deep.
    stack = [(root.rstrip(b"/") + b"/", _nodes(repository, root, tree_id, on_error))]
    while stack:
        folder, nodes = stack[-1]
        for fields in nodes:
            path = folder + raw_name(fields)
            yield path, fields
            if fields.get("type") == "dir" and (descend is None or descend(path, fields)):
                stack.append((path + b"/", _nodes(repository, path, subtree_of(fields), on_error)))
                break
        else:
            stack.pop()


def find_node(repository: Repository, tree_id: BlobId, path: bytes) -> FoundNode:
    """The entry at the path inside the tree; RepositoryError if there is none. `b"/"` is the tree itself."""
    found = FoundNode(b"/", None, tree_id)
    for name in path.split(b"/"):
        if name in {b"", b"."}:
            continue
        if found.tree_id is None:
            raise RepositoryError(f"path {_text(found.path)} is no folder, so there is no {_text(path)}")
        node = next((node for node in repository.load_tree(found.tree_id) if node.name == name), None)
        if node is None:
            raise RepositoryError(f"path {_text(path)} not found in the snapshot")
        found = FoundNode(found.path.rstrip(b"/") + b"/" + name, node, node.subtree)
    return found


def _nodes(
    repository: Repository, path: bytes, tree_id: BlobId | None, on_error: OnTreeError | None
) -> Iterator[Fields]:
    try:
        if tree_id is None:
            raise RepositoryError(f"folder {_text(path)} has no tree")
        nodes = repository.iter_tree_fields(tree_id)
    except LimpetError as error:
        if on_error is None:
            raise
        on_error(path, error)
        return iter(())
    return nodes if on_error is None else _until_damage(nodes, path, on_error)


def _until_damage(nodes: Iterator[Fields], path: bytes, on_error: OnTreeError) -> Iterator[Fields]:
    try:
        yield from nodes
    except LimpetError as error:
        on_error(path, error)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
