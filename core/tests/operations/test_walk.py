"""Walking trees: order, depth, folders left out, damage."""

from __future__ import annotations

import pytest
from limpet.errors import LimpetError, RepositoryError
from limpet.format.node import Node, NodeType
from limpet.format.pack import BlobKind
from limpet.operations.used_blobs import find_used_blobs
from limpet.operations.walk import find_node, walk
from limpet.testing.handmade import Handmade, chain


def test_folders_come_before_what_is_in_them() -> None:
    """`ls` and everything built on it would show another order than restic."""
    made = Handmade()
    root = made.tree(
        made.folder(b"a", made.file(b"x", b"1"), made.folder(b"y", made.file(b"z", b"2"))),
        made.file(b"a.txt", b"3"),
        made.folder(b"empty"),
    )
    paths = [path for path, _ in walk(made.repository, root)]
    assert paths == [b"/a", b"/a/x", b"/a/y", b"/a/y/z", b"/a.txt", b"/empty"]
    some = [path for path, _ in walk(made.repository, root, root=b"/r", descend=lambda path, _: path != b"/r/a/y")]
    assert some == [b"/r/a", b"/r/a/x", b"/r/a/y", b"/r/a.txt", b"/r/empty"]


def test_deep_trees_need_no_deep_stack() -> None:
    """A path of 6,000 bytes would end the program with a RecursionError."""
    made = Handmade()
    root = made.tree(chain(made, [b"d"] * 3000, made.file(b"f", b"x")))
    *_, (path, node) = walk(made.repository, root)
    assert (path, node.name) == (b"/d" * 3000 + b"/f", b"f")
    assert find_node(made.repository, root, path).node == node


def test_a_lost_folder_does_not_end_the_walk() -> None:
    """One damaged tree would hide every file beside it."""
    made = Handmade()
    lost = made.folder(b"lost", made.file(b"gone", b"1"))
    assert lost.subtree is not None
    pack = made.repository.index.find_all(BlobKind.TREE, lost.subtree)[0].pack_id
    made.replace_pack(pack, None)
    nameless = Node(b"nameless", NodeType.DIR)
    root = made.tree(made.folder(b"a", made.file(b"x", b"1")), lost, nameless, made.file(b"z", b"2"))
    errors: list[tuple[bytes, LimpetError]] = []
    paths = [path for path, _ in walk(made.repository, root, on_error=lambda *told: errors.append(told))]
    assert paths == [b"/a", b"/a/x", b"/lost", b"/nameless", b"/z"]
    assert [path for path, _ in errors] == [b"/lost", b"/nameless"]
    with pytest.raises(LimpetError, match="tree blob"):
        list(walk(made.repository, root))


def test_single_entries_by_path() -> None:
    """`dump` would print another file than the one asked for."""
    made = Handmade()
    root = made.tree(made.folder(b"a", made.file(b"x\xff", b"1")), made.file(b"b", b"2"))
    found = find_node(made.repository, root, b"/a//./x\xff")
    assert found.node is not None
    assert (found.path, found.node.name) == (b"/a/x\xff", b"x\xff")
    assert find_node(made.repository, root, b"/").tree_id == root
    for path in (b"/a/none", b"/none", b"/b/below"):
        with pytest.raises(RepositoryError):
            find_node(made.repository, root, path)


def test_used_blobs_are_found_once_each() -> None:
    """`list packs SNAPSHOT` and prune would miss blobs that a snapshot needs."""
    made = Handmade()
    same = made.folder(b"same", made.file(b"x", b"1", b"2"))
    root = made.tree(made.folder(b"a", same), same, made.file(b"z", b"2", b"3"), made.file(b"empty"))
    used = find_used_blobs(made.repository, [root])
    assert len(used) == 6
    assert all(used.contains(BlobKind.TREE, tree) for tree in (root, same.subtree) if tree is not None)
    assert not used.missing
