"""Finding: what fits, in which snapshots, each tree read once, versions grouped."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from limpet.errors import LimpetError, RepositoryError
from limpet.format.node import Node
from limpet.format.pack import BlobKind
from limpet.format.snapshot import Snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, StorageId
from limpet.operations.find import FindQuery, ObjectIds, blobs_of_packs, find, find_objects, group_versions
from limpet.operations.find.memory import SeenTrees
from limpet.repository.snapshots import StoredSnapshot
from limpet.testing.handmade import A_TIME, Handmade


def stored(number: int, tree: BlobId | None) -> StoredSnapshot:
    """A snapshot that is only in memory."""
    return StoredSnapshot(StorageId(bytes([number] * 32)), Snapshot(Time(number, 0), tree, ["/"]))


def paths(made: Handmade, query: FindQuery, *trees: BlobId) -> list[tuple[int, bytes]]:
    """Snapshot and path of all that is found."""
    snapshots = [stored(number, tree) for number, tree in enumerate(trees)]
    return [(match.snapshot.id[0], match.path) for match in find(made.repository, snapshots, query)]


@pytest.fixture
def made() -> Handmade:
    """An empty repository."""
    return Handmade()


@pytest.fixture
def root(made: Handmade) -> BlobId:
    """`a/x.py a/b/y.py a/b/!z c.py`, and `old` of the year 2001."""
    return made.tree(
        made.folder(
            b"a",
            made.folder(b"b", made.file(b"!z", b"3"), made.file(b"y.py", b"1")),
            made.file(b"x.py", b"2"),
        ),
        made.file(b"c.py", b"1"),
        made.file(b"old", b"4", mtime=Time(10**18, 0)),
    )


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["*.py"], [b"/a/b/y.py", b"/a/x.py", b"/c.py"]),
        (["b"], [b"/a/b", b"/a/b/!z", b"/a/b/y.py"]),
        (["/a/b/y.py", "c.*"], [b"/a/b/y.py", b"/c.py"]),
        (["b/*.py"], [b"/a/b/y.py"]),
        (["!z"], [b"/a/b/!z"]),
        (["/a"], [b"/a", b"/a/b", b"/a/b/!z", b"/a/b/y.py", b"/a/x.py"]),
        (["nothing"], []),
        ([""], [b"/a", b"/a/b", b"/a/b/!z", b"/a/b/y.py", b"/a/x.py", b"/c.py", b"/old"]),
    ],
)
def test_patterns(made: Handmade, root: BlobId, patterns: Sequence[str], found: list[bytes]) -> None:
    """A file that is there would be reported as lost."""
    assert [path for _, path in paths(made, FindQuery(patterns), root)] == found


def test_times(made: Handmade, root: BlobId) -> None:
    """`--oldest` and `--newest` would leave out the very moment that was asked for."""
    assert paths(made, FindQuery(["old"], oldest_ns=10**18, newest_ns=10**18), root) == [(0, b"/old")]
    assert paths(made, FindQuery(["old"], oldest_ns=10**18 + 1), root) == []
    assert len(paths(made, FindQuery(["*"], newest_ns=A_TIME.ns - 1), root)) == 1


def test_same_trees_are_read_once(made: Handmade, root: BlobId) -> None:
    """A search through a thousand snapshots would take a thousand times as long."""
    other = made.tree(*made.repository.load_tree(root), made.file(b"z.py", b"9"))
    read: list[BlobId] = []
    inner = made.repository.trees.read

    def count(tree_id: BlobId) -> bytes:
        read.append(tree_id)
        return inner(tree_id)

    made.repository.trees.read = count  # type: ignore[method-assign]
    found = paths(made, FindQuery(["*.py"]), root, other, root)
    of_root = [b"/a/b/y.py", b"/a/x.py", b"/c.py"]
    expected = [(0, path) for path in of_root] + [(1, path) for path in (*of_root, b"/z.py")]
    assert found == expected + [(2, path) for path in of_root]
    assert len(read) == len(set(read)) == 4


def test_a_tree_elsewhere_is_searched_again(made: Handmade) -> None:
    """A folder that was renamed would not be found under its new name."""
    folder = made.folder(b"one", made.file(b"f", b"1"))
    renamed = Node(b"two", folder.type, folder.mode, subtree=folder.subtree)
    first, second = made.tree(folder), made.tree(renamed)
    assert paths(made, FindQuery(["/two/f"]), first, second) == [(1, b"/two/f")]


def test_memory_is_bounded() -> None:
    """A search for everything would fill the memory with what it found."""
    seen: SeenTrees[int] = SeenTrees(max_results=10)
    seen.enter()
    seen.enter()
    for number in range(8):
        seen.found(number)
    seen.leave(BlobId(b"a"), b"/a")
    seen.enter()
    for number in range(8):
        seen.found(number)
    seen.leave(BlobId(b"b"), b"/b")
    seen.leave(BlobId(b"r"), b"/")
    assert seen.get(BlobId(b"a"), b"/a") == list(range(8))
    assert seen.get(BlobId(b"b"), b"/b") is None
    assert seen.get(BlobId(b"r"), b"/") is None


def test_lost_folders_are_told(made: Handmade) -> None:
    """One damaged folder would hide everything beside it."""
    lost = made.folder(b"lost.py", made.file(b"f.py", b"1"))
    assert lost.subtree is not None
    made.replace_pack(made.repository.index.find_all(BlobKind.TREE, lost.subtree)[0].pack_id, None)
    root = made.tree(lost, made.file(b"z.py", b"2"))
    told: list[tuple[BlobId, LimpetError]] = []
    snapshots = [stored(1, root)]
    query = FindQuery(["*.py"])
    found = list(find(made.repository, snapshots, query, lambda _, tree_id, error: told.append((tree_id, error))))
    assert [match.path for match in found] == [b"/z.py"]
    assert [tree_id for tree_id, _ in told] == [root]
    with pytest.raises(LimpetError, match="tree blob"):
        list(find(made.repository, snapshots, query))
    with pytest.raises(RepositoryError, match="has no tree"):
        list(find(made.repository, [stored(1, None)], query))


def test_versions(made: Handmade) -> None:
    """`find --group` would show one version as two, or two as one."""
    one = made.file(b"f", b"1")
    touched = made.file(b"f", b"1", mtime=Time(5, 0))
    moved = made.file(b"f", b"1")
    moved.inode, moved.ctime, moved.atime = 7, Time(9, 0), Time(9, 0)
    changed = made.file(b"f", b"2")
    trees = [made.tree(node) for node in (one, touched, moved, changed, one)]
    snapshots = [stored(number, tree) for number, tree in enumerate(trees)]
    versions = group_versions(find(made.repository, snapshots, FindQuery(["f"])))
    assert [[snapshot.id[0] for snapshot in version.snapshots] for version in versions] == [[0, 2, 4], [1], [3]]
    assert all("content" not in version.fields for version in versions)


def test_objects(made: Handmade, root: BlobId) -> None:
    """The files that a damaged pack belongs to could not be named."""
    node = made.repository.load_tree(root)[0]
    assert node.subtree is not None
    blob = (made.repository.load_tree(root)[1].content or [])[0]
    snapshots = [stored(1, root), stored(2, root)]
    ids = ObjectIds(blobs={blob.hex()[:8]: None}, trees={node.subtree.hex(): None})
    found = [(one.snapshot.id[0], one.kind.word, one.path) for one in find_objects(made.repository, snapshots, ids)]
    of_each = [("tree", b"/a"), ("data", b"/a/b/y.py"), ("data", b"/c.py")]
    assert found == [(number, *one) for number in (1, 2) for one in of_each]
    assert list(ids.blobs) == [blob.hex()]


def test_packs(made: Handmade) -> None:
    """A pack whose file is gone could not be traced to the files that needed it."""
    there, gone = made.pack(b"1", b"2"), made.pack(b"3")
    made.replace_pack(gone, None)
    assert len(blobs_of_packs(made.repository, [there.hex()[:8]]).blobs) == 2
    assert len(blobs_of_packs(made.repository, [gone.hex(), there.hex()]).blobs) == 3
    with pytest.raises(RepositoryError, match=r"unable to find pack\(s\): \[cafecafe\]"):
        blobs_of_packs(made.repository, [there.hex(), "cafecafe"])
