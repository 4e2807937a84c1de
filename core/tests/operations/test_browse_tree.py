"""A repository as a tree: finding, listing, new snapshots, strange trees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, IntegrityError, NotFoundError
from limpet.format.filemode import NodeType
from limpet.format.node import Node, raw_name
from limpet.operations.browse import Browser, BrowseSettings
from limpet.operations.browse.browser import LONGEST_PAUSE_S
from limpet.operations.browse.folders import TreeFolder, Trees
from limpet.operations.browse.listing import PART_BYTES, PARTS_AHEAD, Listing
from limpet.repository.snapshots import SnapshotFilter
from limpet.storage.recording import Operation
from limpet.testing.backups import BackupScene
from limpet.testing.handmade import A_TIME, Handmade

if TYPE_CHECKING:
    from .conftest import Told


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """A repository with one snapshot of a folder with a file."""
    scene = BackupScene(tmp_path / "stuff")
    (scene.folder / "file").write_bytes(b"first")
    scene.backup()
    return scene


@pytest.fixture
def clock() -> Clock:
    """The browser's clock."""
    return Clock()


@pytest.fixture
def browser(scene: BackupScene, clock: Clock, told: Told) -> Iterator[Browser]:
    """The repository opened."""
    browser = Browser(scene.open(), reporter=told, now_s=clock)
    yield browser
    browser.close()


def names(browser: Browser, path: bytes) -> list[bytes]:
    """What is in a folder."""
    folder = browser.find(path).folder
    assert folder is not None
    return [entry.name for entry in folder.entries()]


def latest(browser: Browser) -> bytes:
    """Where the link of all snapshots leads."""
    return browser.find(b"snapshots/latest").node.link_target


def test_from_root_to_content(browser: Browser) -> None:
    """The whole way that every reader takes: views, snapshot, folder, file, bytes."""
    assert set(names(browser, b"/")) == {b"ids", b"snapshots", b"hosts", b"tags"}
    entry = browser.find(b"/snapshots/" + latest(browser) + b"/stuff/file")
    assert entry.node.size == 5
    reader = browser.open(entry.node)
    assert reader.read(1, 100) == b"irst"
    reader.close()


def test_what_is_not_there(browser: Browser) -> None:
    """A path that leads nowhere, or through a file, is told apart from one that cannot be read."""
    for path in (b"nothing", b"ids/00000000", b"snapshots/" + latest(browser) + b"/stuff/file/below"):
        with pytest.raises(NotFoundError, match="not found"):
            browser.find(path)
    with pytest.raises(NotFoundError, match="no regular file"):
        browser.open(browser.find(b"ids").node)


def test_new_snapshots_appear(browser: Browser, scene: BackupScene, clock: Clock) -> None:
    """A mount stays for months: what was backed up since is there, `latest` follows, and its files can be read."""
    before = latest(browser)
    (scene.folder / "second").write_bytes(os.urandom(1000))
    scene.backup()
    assert not browser.refresh()  # looked a moment ago
    assert latest(browser) == before
    clock.now_s += LONGEST_PAUSE_S
    assert browser.refresh()
    assert latest(browser) != before
    node = browser.find(b"snapshots/" + latest(browser) + b"/stuff/second").node
    assert browser.open(node).read(0, 1000) == (scene.folder / "second").read_bytes()


def test_looking_is_cheap(browser: Browser, scene: BackupScene, clock: Clock) -> None:
    """Nothing new: no snapshot and no index is read again, and between two looks nothing is asked for at all."""
    clock.now_s += LONGEST_PAUSE_S
    scene.backend.calls.clear()
    assert not browser.refresh()
    assert {(call.operation, call.kind) for call in scene.backend.calls} == {(Operation.LIST, FileKind.SNAPSHOT)}
    scene.backend.calls.clear()
    assert not browser.refresh()
    names(browser, b"snapshots")
    assert scene.backend.calls == []


def test_only_what_was_added_is_read(browser: Browser, scene: BackupScene, clock: Clock) -> None:
    """The index of a large repository takes long to read: of a new snapshot only its own index file is read."""
    (scene.folder / "second").write_bytes(os.urandom(1000))
    scene.backup()
    assert len(scene.stored(FileKind.INDEX)) == 2
    scene.backend.calls.clear()
    clock.now_s += LONGEST_PAUSE_S
    assert browser.refresh()
    loads = [call.kind for call in scene.backend.calls if call.operation is Operation.LOAD]
    assert loads.count(FileKind.INDEX) == 1


def test_removed_snapshots_vanish(browser: Browser, scene: BackupScene, clock: Clock) -> None:
    """After a `forget` elsewhere the snapshot is no longer offered."""
    scene.backup()
    clock.now_s += LONGEST_PAUSE_S
    assert browser.refresh()
    assert len(names(browser, b"ids")) == 2
    scene.open().remove_unpacked(FileKind.SNAPSHOT, scene.snapshots()[0].id)
    clock.now_s += LONGEST_PAUSE_S
    assert browser.refresh()
    assert len(names(browser, b"ids")) == 1


def test_storage_away(browser: Browser, scene: BackupScene, clock: Clock, told: Told) -> None:
    """The storage is away for a while: what was seen stays, and it is told; later all goes on."""
    scene.backup()
    clock.now_s += LONGEST_PAUSE_S
    scene.backend.fail_after(0, times=1, operations={Operation.LIST}, error=BackendError("away", permanent=True))
    assert not browser.refresh()
    assert len(names(browser, b"ids")) == 1
    assert told.warnings == ["cannot look for new snapshots: away"]
    clock.now_s += LONGEST_PAUSE_S
    assert browser.refresh()
    assert len(names(browser, b"ids")) == 2


def test_a_snapshot_that_cannot_be_read_for_a_while(
    browser: Browser, scene: BackupScene, clock: Clock, told: Told
) -> None:
    """The storage fails at one snapshot: it is back with the next look, although no other was made or removed."""
    scene.backup()
    clock.now_s += LONGEST_PAUSE_S
    scene.backend.fail_after(0, times=1, operations={Operation.LOAD}, error=BackendError("away", permanent=True))
    assert browser.refresh()
    assert len(names(browser, b"ids")) == 1
    assert "is left out: away" in told.warnings[0]
    clock.now_s += LONGEST_PAUSE_S
    assert browser.refresh()
    assert len(names(browser, b"ids")) == 2
    clock.now_s += LONGEST_PAUSE_S
    assert not browser.refresh()


def test_filter(scene: BackupScene) -> None:
    """Only what passes the filter is shown."""
    scene.backup(hostname="elsewhere")
    browser = Browser(scene.open(), BrowseSettings(snapshot_filter=SnapshotFilter(hosts=["elsewhere"])))
    assert names(browser, b"hosts") == [b"elsewhere"]
    assert len(names(browser, b"ids")) == 1
    browser.close()


def listing(handmade: Handmade, *nodes: Node) -> Listing:
    """The listing of a tree of these nodes."""
    return Listing(handmade.repository.trees.read(handmade.tree(*nodes)), handmade.repository.trees.read)


def shown(found: Listing) -> list[bytes]:
    """The names in it."""
    return [name for name, _ in found.iterate()]


def test_large_folder(handmade: Handmade) -> None:
    """A folder of many parts: each node is found by name and by number, from both ends, and none is there twice."""
    expected = [b"%05d" % number for number in range(3000)]
    found = listing(handmade, *(handmade.file(name) for name in expected))
    assert found.number(b"02999") == 2999
    assert [found.number(name) for name in expected] == list(range(3000))
    assert found.number(b"02999x") is None
    assert found.number(b"") is None
    assert shown(found) == expected
    assert [name for name, _ in found.iterate(2500)] == expected[2500:]
    assert raw_name(found.fields(1234)) == b"01234"
    with pytest.raises(IndexError):
        found.fields(3000)


def test_disordered_tree(handmade: Handmade) -> None:
    """Trees of other programs may be in no order: every file is found all the same."""
    expected = [b"%04d" % (number * 7 % 1000) for number in range(1000)]
    found = listing(handmade, *(handmade.file(name) for name in expected))
    assert shown(found) == expected
    assert all(found.number(name) == number for number, name in enumerate(expected))


def test_names_that_cannot_be(handmade: Handmade) -> None:
    """Nobody can be led out of the folder by a name, nor the kernel be upset; the rest is shown."""
    odd = [handmade.file(name) for name in (b"..", b"a/b", b"ok", b"zero\0byte")]
    assert shown(listing(handmade, *odd)) == [b"ok"]
    assert shown(listing(handmade, Node(b"what", NodeType.INVALID), handmade.file(b"x"))) == [b"x"]
    strange = [b'quo"te', b"\xff\xfe", "ü".encode(), b"back\\slash"]
    assert sorted(shown(listing(handmade, *map(handmade.file, sorted(strange))))) == sorted(strange)


def test_old_snapshots(handmade: Handmade) -> None:
    """Old versions of restic stored a folder called `.` or `/`: what is in it is shown in its place, as restic does."""
    inner = handmade.folder(b".", handmade.file(b"b"), handmade.file(b"d"))
    assert shown(listing(handmade, inner, handmade.file(b"c"))) == [b"b", b"c", b"d"]


NONSENSE = b'{"name":7,"type":"file","content":null}'


@pytest.mark.parametrize(("late", "end"), [(b"{", b"\n"), (NONSENSE, b"]}\n")], ids=["no JSON", "a name that is none"])
def test_damaged_behind_the_beginning(late: bytes, end: bytes) -> None:
    """A large tree stays an error, however often it is asked: no file seems to vanish, and a part is not the whole."""
    node = b'{"name":"%07d","type":"file","mode":420,"content":null}'
    nodes = [node % number for number in range(8 * PART_BYTES // len(node))]
    data = b'{"nodes":[' + b",".join([*nodes, late]) + end
    found = Listing(data, lambda _: data)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            shown(found)
        with pytest.raises(IntegrityError):
            found.number(b"not there")


@pytest.mark.parametrize(
    "node", ["1", "null", '"x"', '{"name":"a","type":"file"},["a"]', '{"name":".","type":"dir"},5']
)
def test_nodes_that_are_none(node: str) -> None:
    """Damage has its name and its exit code; as any other error it would end threads that load ahead."""
    with pytest.raises(IntegrityError, match="not a JSON object"):
        Listing(f'{{"nodes":[{node}]}}'.encode(), lambda _: b'{"nodes":[]}')


@pytest.mark.parametrize("word", ['["file"]', '{"file":1}', "1", '"door"'])
def test_types_that_are_none(word: str) -> None:
    """A node of a type that nobody knows is left out, whatever stands in its place; its neighbours are shown."""
    nodes = f'{{"name":"a","type":{word}}},{{"name":"b","type":"file"}}'
    listing = Listing(f'{{"nodes":[{nodes}]}}'.encode(), lambda _: b"")
    assert [name for name, _ in listing.iterate()] == [b"b"]


def test_a_large_folder_is_taken_apart_in_a_thread() -> None:
    """A name in a folder of 100,000 must not keep everybody waiting: what takes long can be told beforehand."""
    node = b'{"name":"%07d","type":"file","mode":420,"content":null}'
    nodes = [node % number for number in range(8 * PART_BYTES // len(node))]
    found = Listing(b'{"nodes":[' + b",".join(nodes) + b"]}\n", lambda _: b"")
    last = len(nodes) - 1
    assert found.has_taken(0)
    assert not found.has_taken(last)
    assert not found.knows_names
    assert found.number(b"%07d" % last) == last
    assert found.has_taken(last)
    assert found.knows_names


def test_parts_are_taken_ahead() -> None:
    """Who goes through a large folder finds the next part decoded, and no more: most of it is not in memory."""
    node = b'{"name":"%07d","type":"file","mode":420,"content":null}'
    nodes = [node % number for number in range(4 * PARTS_AHEAD * PART_BYTES // len(node))]
    found = Listing(b'{"nodes":[' + b",".join(nodes) + b"]}\n", lambda _: b"")
    for number in range(0, len(nodes), 500):
        found.take_ahead(number)
        assert found.has_taken(min(number + (PARTS_AHEAD - 1) * PART_BYTES // len(node), len(nodes) - 1))
        assert found.is_whole or not found.has_taken(number + (PARTS_AHEAD + 2) * PART_BYTES // len(node))
    assert found.is_whole
    assert shown(found) == [b"%07d" % number for number in range(len(nodes))]


def test_names_out_of_order_are_looked_up_in_a_thread() -> None:
    """Then all names have to be gone through once, which takes as long."""
    found = Listing(b'{"nodes":[{"name":"b","type":"file"},{"name":"a","type":"file"}]}\n', lambda _: b"")
    assert not found.knows_names
    assert found.number(b"a") == 1
    assert found.knows_names


def test_trees_that_came_with_others(browser: Browser) -> None:
    """A folder whose tree was read with its parent's costs no request, and so no thread: most of a walk is that."""
    (snapshot,) = names(browser, b"ids")
    folder = browser.find(b"ids/" + snapshot).folder
    assert isinstance(folder, TreeFolder)
    assert folder.listing_at_hand() is None
    assert folder.is_worth_loading_ahead()
    (entry,) = folder.entries()
    assert isinstance(entry.folder, TreeFolder)
    assert not entry.folder.is_worth_loading_ahead()
    found = entry.folder.listing_at_hand()
    assert found is not None
    assert entry.folder.listing() is found


def test_trees_are_read_once(handmade: Handmade) -> None:
    """A folder that is looked into again costs no request."""
    trees = Trees(handmade.repository)
    folder = TreeFolder(handmade.tree(handmade.folder(b"inner", handmade.file(b"x"))), trees)
    assert folder.listing_at_hand() is None
    inner = folder.lookup(b"inner")
    assert inner is not None
    assert isinstance(inner.folder, TreeFolder)
    assert inner.folder.is_worth_loading_ahead()
    assert [entry.name for entry in inner.folder.entries()] == [b"x"]
    assert not inner.folder.is_worth_loading_ahead()
    assert folder.listing_at_hand() is folder.listing()
    assert inner.node.mtime == A_TIME
