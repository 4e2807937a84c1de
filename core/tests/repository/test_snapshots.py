"""Selecting snapshots: by id, prefix, `latest~N`, folder, host, tags and paths; groups; damage."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from limpet.contracts.backend import Content, FileKind, Handle
from limpet.errors import IntegrityError, LimpetError, RepositoryError, UsageError
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import NS_PER_S, Time
from limpet.ids import StorageId
from limpet.repository.snapshots import (
    GroupBy,
    NoSnapshotError,
    SnapshotFilter,
    find_latest,
    find_parent,
    find_snapshot,
    group_snapshots,
    latest_of_each,
    load_snapshots,
    select_snapshots,
    tree_of,
)
from limpet.testing.handmade import Handmade


class Shelf(Handmade):
    """A repository to put snapshots into."""

    def put(self, second: int, host: str = "h", tags: Sequence[str] = (), paths: Sequence[str] = ("/a",)) -> StorageId:
        """Store a snapshot of an empty folder."""
        snapshot = Snapshot(Time(second * NS_PER_S, 0), self.tree(), list(paths), hostname=host, tags=list(tags))
        return self.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))


@pytest.fixture
def shelf() -> Shelf:
    """An empty one."""
    return Shelf()


def test_selectors(shelf: Shelf) -> None:
    """The wrong snapshot would be restored."""
    repository = shelf.repository
    middle, newest, oldest = shelf.put(20, "x"), shelf.put(30), shelf.put(10)
    for text, wanted in {
        "latest": newest,
        "latest~0": newest,
        "latest~1": middle,
        "latest~2": oldest,
        middle.hex(): middle,
        middle.hex()[:16]: middle,
    }.items():
        assert find_snapshot(repository, text)[0].id == wanted, text
    assert find_snapshot(repository, "latest~1", SnapshotFilter(hosts=["h"]))[0].id == oldest
    assert find_snapshot(repository, middle.hex(), SnapshotFilter(hosts=["h"]))[0].id == middle
    assert find_snapshot(repository, f"{middle.hex()[:16]}:/a/b:c")[1] == "/a/b:c"
    with pytest.raises(NoSnapshotError, match="only 3 snapshots"):
        find_snapshot(repository, "latest~3")
    with pytest.raises(NoSnapshotError, match=r"Hosts:\[nobody\]\): no snapshot found"):
        find_snapshot(repository, "latest", SnapshotFilter(hosts=["nobody"]))
    reasons = {
        "": "multiple IDs",
        "nope": "no matching ID",
        "latest~": "no matching",
        "latest~" + "9" * 5000: "no matching",  # more digits than Python turns into a number
        "0" * 64: "0" * 64,
    }
    for text, reason in reasons.items():
        with pytest.raises(LimpetError, match=reason):
            find_snapshot(repository, text)


def test_names_select_each_snapshot_once(shelf: Shelf) -> None:
    """A snapshot named twice would be shown, and one day removed, twice."""
    repository = shelf.repository
    first, second = shelf.put(1), shelf.put(2)
    chosen = select_snapshots(repository, ["latest", second.hex()[:20], first.hex(), "latest~1"])
    assert [one.id for one in chosen] == [second, first]
    assert [one.id for one in select_snapshots(repository, [])] == [first, second]
    with pytest.raises(UsageError, match="not allowed"):
        select_snapshots(repository, ["latest:folder"])
    with pytest.raises(UsageError, match="explicit snapshot ids"):
        select_snapshots(repository, [first.hex()], SnapshotFilter(hosts=["h"]))
    passed_over: list[str] = []
    chosen = select_snapshots(repository, ["nope", first.hex()], on_error=lambda name, _: passed_over.append(name))
    assert ([one.id for one in chosen], passed_over) == ([first], ["nope"])


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ([], "abcd"),
        ([["one"]], "ab"),
        ([["one", "two"]], "a"),
        ([["two"], ["three"]], "ac"),
        ([[""]], "d"),
        ([["one", "three"]], ""),
        ([["", "one"]], "d"),
        ([["one", ""]], ""),
    ],
)
def test_tags_are_groups_of_which_one_has_to_fit(shelf: Shelf, tags: list[list[str]], wanted: str) -> None:
    """`--tag a,b --tag c` would select other snapshots than restic."""
    shelf.put(1, "a", ["one", "two"])
    shelf.put(2, "b", ["one"])
    shelf.put(3, "c", ["three"])
    shelf.put(4, "d")
    chosen = select_snapshots(shelf.repository, [], SnapshotFilter(tags=tags))
    assert "".join(one.snapshot.hostname for one in chosen) == wanted


def test_paths_have_to_be_there_all(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--path` would find snapshots that lack one of the paths, or none for a relative one."""
    both, one = shelf.put(1, paths=["/usr", "/usr/lib"]), shelf.put(2, paths=["/usr"])
    chosen = select_snapshots(shelf.repository, [], SnapshotFilter(paths=["/usr/lib", "/usr"]))
    assert [stored.id for stored in chosen] == [both]
    monkeypatch.chdir("/usr")
    assert find_snapshot(shelf.repository, "latest", SnapshotFilter(paths=["lib"]))[0].id == both
    assert find_snapshot(shelf.repository, "latest", SnapshotFilter(paths=["/usr"]))[0].id == one


def test_parent_is_never_newer_than_the_backup(shelf: Shelf) -> None:
    """A backup with `--time` in the past would take its own future as its parent (restic issue 3619)."""
    early, late = shelf.put(10), shelf.put(30)
    chosen = SnapshotFilter(hosts=["h"], paths=["/a"])

    def parent(name: str | None, not_after_s: int) -> StorageId | None:
        found = find_parent(shelf.repository, name, chosen, not_after_ns=not_after_s * NS_PER_S)
        return None if found is None else found.id

    assert [parent(None, second) for second in (40, 30, 29, 10, 9)] == [late, late, early, early, None]
    assert parent(late.hex()[:20], 9) == late
    assert parent("latest", 29) == early
    with pytest.raises(NoSnapshotError):
        parent("latest", 9)


def test_groups(shelf: Shelf) -> None:
    """Snapshots of two machines would be thinned out as if they were one machine's."""
    shelf.put(1, "a", ["y", "x"], ["/q", "/p"])
    shelf.put(2, "b", ["x", "y"], ["/p", "/q"])
    shelf.put(3, "a")
    snapshots = load_snapshots(shelf.repository)
    by_tags = group_snapshots(snapshots, GroupBy.parse("tags,paths"))
    assert [(group.tags, group.paths, len(group.snapshots)) for group in by_tags] == [
        (("x", "y"), ("/p", "/q"), 2),
        (None, ("/a",), 1),
    ]
    by_host = group_snapshots(snapshots, GroupBy.parse("host"))
    assert [(group.hostname, len(group.snapshots)) for group in by_host] == [("a", 2), ("b", 1)]
    assert len(group_snapshots(snapshots, GroupBy.parse(""))) == 1
    with pytest.raises(UsageError, match="unknown grouping option"):
        GroupBy.parse("host,month")


def test_latest_of_each_host_and_paths(shelf: Shelf) -> None:
    """`snapshots --latest 1` would hide the only snapshot of a machine."""
    for second, host in enumerate("aabab"):
        shelf.put(second, host)
    kept = latest_of_each(load_snapshots(shelf.repository), 1)
    assert [(one.snapshot.hostname, one.time_ns // NS_PER_S) for one in kept] == [("b", 4), ("a", 3)]


def test_a_damaged_snapshot_is_named_and_the_others_are_found(shelf: Shelf) -> None:
    """One damaged file would hide all snapshots, or vanish without a word."""
    bad, good = shelf.put(1), shelf.put(2)
    handle = Handle(FileKind.SNAPSHOT, bad.hex())
    stored = bytearray(shelf.repository.backend.load(handle))
    stored[20] ^= 1
    shelf.repository.backend.remove(handle)
    shelf.repository.backend.save(handle, Content(memoryview(bytes(stored)), sha256(stored).digest()))
    with pytest.raises(IntegrityError, match=bad.hex()[:8]):
        load_snapshots(shelf.repository)
    told: dict[str, LimpetError] = {}
    assert [one.id for one in load_snapshots(shelf.repository, told.__setitem__)] == [good]
    assert list(told) == [bad.hex()]


def test_folders_of_a_snapshot(shelf: Shelf) -> None:
    """`ID:folder` would restore another folder, or a file as if it were one."""
    inner = shelf.folder(b"inner\xff", shelf.file(b"f", b"x"))
    root = shelf.tree(shelf.folder(b"outer", inner), shelf.file(b"z", b"y"))
    snapshot = Snapshot(Time(0, 0), root, ["/"])
    shelf.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    stored = find_latest(load_snapshots(shelf.repository))
    for text in ("", "/", ".", "//"):
        assert tree_of(shelf.repository, stored, text) == root
    for text in ("/outer/inner\udcff", "outer//inner\udcff/", "./outer/./inner\udcff"):
        assert tree_of(shelf.repository, stored, text) == inner.subtree
    with pytest.raises(RepositoryError, match="path outer/none: not found"):
        tree_of(shelf.repository, stored, "outer/none")
    with pytest.raises(RepositoryError, match="path z: not a directory"):
        tree_of(shelf.repository, stored, "z")
