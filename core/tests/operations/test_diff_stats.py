"""Differences and sizes of snapshots: what is counted, each tree once, damage told."""

from __future__ import annotations

import pytest
from limpet.errors import LimpetError
from limpet.format.node import Node, NodeType
from limpet.format.pack import BlobKind
from limpet.format.snapshot import Snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, StorageId
from limpet.operations.diff import Change, DiffResult, diff
from limpet.operations.stats import CountMode, StatsProgress, stats
from limpet.repository.snapshots import StoredSnapshot
from limpet.testing.handmade import Handmade, chain


def compare(
    made: Handmade, first: BlobId, second: BlobId, *, with_metadata: bool = False
) -> tuple[list[str], DiffResult]:
    """The changes as restic prints them, and the sums."""
    changes: list[Change] = []
    result = diff(made.repository, first, second, with_metadata=with_metadata, on_change=changes.append)
    return [f"{change.modifier} {change.path.decode()}" for change in changes], result


def linked(node: Node, inode: int, links: int) -> Node:
    """The node as one of several names."""
    node.inode, node.links, node.device_id = inode, links, 5
    return node


def test_changes() -> None:
    """What happened to a file would be told wrongly, or not at all."""
    made = Handmade()
    same = made.file(b"same", b"s")
    first = made.tree(
        made.folder(b"dir", made.file(b"bitrot", b"1"), made.file(b"gone", b"g"), same),
        made.file(b"link", b"l"),
        made.file(b"touched", b"t"),
    )
    second = made.tree(
        made.folder(b"dir", made.file(b"bitrot", b"2"), same),
        Node(b"link", NodeType.SYMLINK, link_target=b"x"),
        made.folder(b"new", made.file(b"in it", b"n")),
        made.file(b"touched", b"t", mtime=Time(9, 0)),
    )
    changes, result = compare(made, first, second)
    assert changes == ["M? /dir/bitrot", "- /dir/gone", "T /link", "+ /new/", "+ /new/in it"]
    assert (result.changed_files, result.added.files, result.added.folders, result.removed.files) == (1, 1, 1, 1)
    assert "U /touched" in compare(made, first, second, with_metadata=True)[0]
    assert compare(made, first, first)[1].added.tree_blobs == 0


def test_blobs_used_elsewhere_are_not_counted() -> None:
    """A file that was only moved would look like new data."""
    made = Handmade()
    kept = made.folder(b"kept", made.file(b"copy", b"content"))
    first = made.tree(kept, made.file(b"z-old", b"content", b"other"))
    second = made.tree(kept, made.file(b"z-new", b"content"))
    _, result = compare(made, first, second)
    assert (result.removed.data_blobs, result.removed.size_bytes > 5) == (1, True)
    assert (result.added.data_blobs, result.added.tree_blobs) == (0, 1)


def test_the_same_instant_in_another_zone_is_no_change() -> None:
    """Snapshots of two machines would differ in every file."""
    made = Handmade()
    first = made.tree(made.file(b"f", b"1", mtime=Time(3600 * 10**9, 0)))
    second = made.tree(made.file(b"f", b"1", mtime=Time(3600 * 10**9, 7200)))
    assert first != second
    assert compare(made, first, second, with_metadata=True)[0] == []


def test_deep_trees_need_no_deep_stack() -> None:
    """A path of 6,000 bytes would end the program with a RecursionError."""
    made = Handmade()
    first, second = (made.tree(chain(made, [b"d"] * 1500, made.file(b"f", text))) for text in (b"x", b"y"))
    assert len(compare(made, first, second)[0]) == 1
    assert len(compare(made, made.tree(), second)[0]) == 1501
    snapshot = StoredSnapshot(StorageId(bytes(32)), Snapshot(Time(0, 0), second, []))
    assert stats(made.repository, [snapshot]).files == 1501


def test_a_lost_folder_does_not_end_the_comparison() -> None:
    """One damaged tree would hide every other difference."""
    made = Handmade()
    lost = made.folder(b"lost", made.file(b"x", b"1"))
    assert lost.subtree is not None
    made.replace_pack(made.repository.index.find_all(BlobKind.TREE, lost.subtree)[0].pack_id, None)
    first = made.tree(lost, made.file(b"z", b"1"))
    second = made.tree(made.folder(b"lost", made.file(b"y", b"2")), made.file(b"z", b"3"))
    errors: list[LimpetError] = []
    changes: list[Change] = []
    diff(made.repository, first, second, on_change=changes.append, on_error=errors.append)
    assert [change.path for change in changes] == [b"/z"]
    assert len(errors) == 1
    with pytest.raises(LimpetError, match="tree blob"):
        diff(made.repository, first, second)


def snapshots_of(*trees: BlobId) -> list[StoredSnapshot]:
    """Snapshots that are only in memory."""
    return [
        StoredSnapshot(StorageId(bytes([number] * 32)), Snapshot(Time(number, 0), tree, []))
        for number, tree in enumerate(trees)
    ]


def test_restore_size_counts_each_snapshot_and_one_of_hard_links() -> None:
    """The size told would be another than what a restore writes."""
    made = Handmade()
    folder = made.folder(b"d", linked(made.file(b"one", b"12345"), 7, 2))
    root = made.tree(folder, linked(made.file(b"two", b"12345"), 7, 2), made.file(b"x", b"1"))
    progress = StatsProgress()
    result = stats(made.repository, snapshots_of(root, root), progress=progress)
    assert (result.snapshots, result.files, result.size_bytes) == (2, 8, 12)
    assert (progress.snapshots, progress.entries, progress.size_bytes) == (2, 4, 11)


def test_contents_count_once() -> None:
    """Copies would count as often as they are there."""
    made = Handmade()
    first = made.tree(made.file(b"a", b"one"), made.file(b"b", b"one"), made.file(b"c", b"one", b"two"))
    second = made.tree(made.file(b"c", b"two", b"two"))
    both = snapshots_of(first, second)
    by_contents = stats(made.repository, both, CountMode.FILES_BY_CONTENTS)
    assert (by_contents.files, by_contents.size_bytes) == (3, 3 + 6 + 6)
    by_blobs = stats(made.repository, both, CountMode.BLOBS_PER_FILE)
    # `c` of the second snapshot has the path of another file, which had that blob already.
    assert (by_blobs.files, by_blobs.blobs, by_blobs.size_bytes) == (2, 3, 9)


def test_raw_data_counts_stored_blobs() -> None:
    """Duplicates in several packs, and blobs that no snapshot uses, would count."""
    made = Handmade()
    root = made.tree(made.file(b"a", b"used"))
    made.pack(b"used")
    made.pack(b"unused")
    result = stats(made.repository, snapshots_of(root), CountMode.RAW_DATA)
    assert result.blobs == 2
    assert result.uncompressed_bytes > result.compressed_blobs_plain_bytes > 0
    assert result.compression_ratio > 0
