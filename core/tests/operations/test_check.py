"""The check: every kind of damage to structure and data is found and named, and nothing sound is called damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from limpet.contracts.backend import Content, FileKind, Handle
from limpet.errors import UsageError
from limpet.format.filemode import NodeType
from limpet.format.indexfile import encode_index
from limpet.format.node import Node
from limpet.format.pack import BlobKind, PackedBlob, encode_header, encode_trailer
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.ids import BlobId, StorageId
from limpet.operations.check import (
    CheckOptions,
    CheckResult,
    EveryPack,
    Finding,
    FindingKind,
    PackBytes,
    PackGroup,
    PackPercent,
    check,
)
from limpet.progress import SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import SnapshotFilter
from limpet.storage.memory import MemoryBackend
from limpet.storage.wrapping import WrappingBackend
from limpet.testing.handmade import A_TIME, PASSWORD, Handmade

READ_ALL = CheckOptions(EveryPack())
IndexEntry = tuple[StorageId, Sequence[PackedBlob]]


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in threads: a fork for each of these tests would cost most of their time."""
    monkeypatch.setenv("LIMPET_THREADS", "1")


def _entries(made: Handmade) -> list[IndexEntry]:
    index = made.repository.index
    return [(pack_id, index.pack_blobs(pack_id)) for pack_id in index.pack_ids()]


def _save_index(made: Handmade, *entries: IndexEntry) -> StorageId:
    return made.repository.save_unpacked(FileKind.INDEX, encode_index(entries))


def _save_snapshot(made: Handmade, *nodes: Node, host: str = "here") -> StorageId:
    snapshot = Snapshot(A_TIME, made.tree(*nodes), ["/data"], hostname=host)
    return made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))


def _finish(made: Handmade, *nodes: Node) -> None:
    """A snapshot of the nodes, and one index of everything."""
    _save_snapshot(made, *nodes)
    _save_index(made, *_entries(made))


def _check(made: Handmade, options: CheckOptions = READ_ALL) -> CheckResult:
    with Repository.open(made.repository.backend, PASSWORD) as repository:
        return check(repository, options)


def _kinds(result: CheckResult) -> list[FindingKind]:
    return [finding.kind for finding in result.findings]


def _change(made: Handmade, handle: Handle, change: Callable[[bytearray], None]) -> None:
    backend = made.repository.backend
    stored = bytearray(backend.load(handle))
    change(stored)
    backend.remove(handle)
    backend.save(handle, Content(memoryview(stored), sha256(stored).digest()))


def _flip(position: int) -> Callable[[bytearray], None]:
    def flip(stored: bytearray) -> None:
        stored[position] ^= 1

    return flip


def test_sound_repository(handmade: Handmade) -> None:
    """False alarms make people ignore the true ones."""
    folder = handmade.folder(b"folder", handmade.file(b"inside", b"one", b"two"), handmade.file(b"empty"))
    _finish(handmade, handmade.file(b"file", b"three"), folder, Node(b"link", NodeType.SYMLINK, link_target=b"file"))
    result = _check(handmade)
    assert result.findings == []
    assert result.packs_read == 4


def test_empty_repository(handmade: Handmade) -> None:
    """A repository without snapshots is sound."""
    assert _check(handmade).findings == []


@pytest.mark.parametrize("position", [0, 20, 50, -60, -1])
def test_flipped_bit_in_data(handmade: Handmade, position: int) -> None:
    """Every byte of a pack counts: blobs, header and trailer."""
    pack_id = handmade.pack(b"content" * 100, b"more" * 100)
    _finish(handmade, handmade.file(b"file", b"content" * 100, b"more" * 100, stored=False))
    _change(handmade, handmade.handle(pack_id), _flip(position))
    assert _check(handmade, CheckOptions()).findings == []
    (finding,) = _check(handmade).findings
    assert (finding.kind, finding.subject) == (FindingKind.PACK_DATA, pack_id.hex())
    assert pack_id.hex() in finding.details[0]


def test_flipped_bit_in_tree(handmade: Handmade) -> None:
    """A damaged tree is found without reading data, and the pack to be repaired is named."""
    _finish(handmade, handmade.file(b"file", b"content"))
    trees = [pack for pack, blobs in _entries(handmade) if blobs[0].kind is BlobKind.TREE]
    _change(handmade, handmade.handle(trees[0]), _flip(20))
    (finding,) = _check(handmade, CheckOptions()).findings
    assert finding.kind is FindingKind.TREE
    assert trees[0].hex() in finding.details[0]


def test_tree_with_sound_copy(handmade: Handmade) -> None:
    """What has a sound copy elsewhere is not lost."""
    _save_snapshot(handmade, handmade.file(b"file", b"content"))
    (first,) = [pack for pack, blobs in _entries(handmade) if blobs[0].kind is BlobKind.TREE]
    tree = handmade.repository.load_blob(BlobKind.TREE, handmade.repository.index.pack_blobs(first)[0].id)
    handmade.pack(tree, kind=BlobKind.TREE)
    _save_index(handmade, *_entries(handmade))
    _change(handmade, handmade.handle(first), _flip(20))
    assert _check(handmade, CheckOptions()).findings == []
    assert _kinds(_check(handmade)) == [FindingKind.PACK_DATA]


def test_lost_cut_and_unknown_packs(handmade: Handmade) -> None:
    """Listing the packs is enough to find what is missing, cut, or superfluous."""
    lost, cut = handmade.pack(b"lost"), handmade.pack(b"cut")
    _finish(handmade, handmade.file(b"a", b"lost", stored=False), handmade.file(b"b", b"cut", stored=False))
    unknown = handmade.pack(b"unknown")
    handmade.replace_pack(lost, None)
    _change(handmade, handmade.handle(cut), lambda stored: stored.__delitem__(slice(10, None)))
    result = _check(handmade, CheckOptions())
    assert {(finding.kind, finding.subject) for finding in result.findings} == {
        (FindingKind.PACK_MISSING, lost.hex()),
        (FindingKind.PACK_SIZE, cut.hex()),
        (FindingKind.PACK_UNREFERENCED, unknown.hex()),
    }
    assert result.broken_packs == [cut.hex()]
    assert [finding.kind for finding in result.errors if finding.subject == unknown.hex()] == []
    assert FindingKind.PACK_DATA in _kinds(_check(handmade))


def test_empty_pack(handmade: Handmade) -> None:
    """A file of no bytes at all is damage, not the end of the check."""
    pack_id = handmade.pack(b"content")
    _finish(handmade, handmade.file(b"file", b"content", stored=False))
    _change(handmade, handmade.handle(pack_id), bytearray.clear)
    assert _kinds(_check(handmade)) == [FindingKind.PACK_SIZE, FindingKind.PACK_DATA]


def test_wrong_content_under_right_seal(handmade: Handmade) -> None:
    """A blob that is not what its id says is found, though its seal is sound: bad memory has done that."""
    pack_id = handmade.pack_as([(BlobId(bytes([7]) * 32), b"something else")])
    _save_index(handmade, *_entries(handmade))
    (finding,) = _check(handmade).findings
    assert (finding.kind, finding.subject) == (FindingKind.PACK_DATA, pack_id.hex())


def test_header_unlike_index(handmade: Handmade) -> None:
    """`repair index` would rebuild a wrong index from a wrong header."""
    box = handmade.repository.opener().box
    sealed = box.seal(b"content")
    blob = PackedBlob(BlobKind.DATA, BlobId(bytes([1]) * 32), 0, len(sealed), 0)
    header = box.seal(encode_header([blob]))
    handmade.pack(b"content")
    ((first, (known,)),) = _entries(handmade)
    stored = sealed + header + encode_trailer(len(header))
    handmade.replace_pack(first, stored)
    _save_index(handmade, (first, [known]))
    (finding,) = _check(handmade).findings
    assert "is not in the pack header" in finding.details[0]
    assert "is not in the index" in finding.details[0]
    assert "unexpected pack id" in finding.details[0]


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        (Node(b"f", NodeType.FILE, content=None), "nil blob list"),
        (Node(b"f", NodeType.FILE, content=[BlobId(bytes([1]) * 32)]), "not found in index"),
        (Node(b"f", NodeType.FILE, content=[BlobId(bytes(32))]), "no valid ID"),
        (Node(b"d", NodeType.DIR), "no subtree"),
        (Node(b"d", NodeType.DIR, subtree=BlobId(bytes(32))), "no subtree"),
        (Node(b"i", NodeType.INVALID), "invalid type"),
        (Node(b"", NodeType.FIFO), "empty name"),
    ],
)
def test_bad_nodes(handmade: Handmade, node: Node, complaint: str) -> None:
    """A tree that names what is not there cannot be restored."""
    _finish(handmade, node)
    (finding,) = _check(handmade).findings
    assert finding.kind is FindingKind.TREE
    assert complaint in finding.details[0]


def test_same_name_twice(handmade: Handmade) -> None:
    """One of the two would be lost in a restore."""
    _finish(handmade, Node(b"x", NodeType.FIFO), Node(b"x", NodeType.FIFO))
    assert "twice" in _check(handmade).findings[0].details[0]


def test_lost_subtree(handmade: Handmade) -> None:
    """A folder whose tree is in no index is lost."""
    tree_id = BlobId(bytes([9]) * 32)
    _finish(handmade, Node(b"d", NodeType.DIR, subtree=tree_id))
    (finding,) = _check(handmade).findings
    assert (finding.kind, finding.subject) == (FindingKind.TREE, tree_id.hex())


def test_mixed_pack(handmade: Handmade) -> None:
    """restic's first format mixed trees and data in packs: worth a hint, sound nevertheless."""
    box = handmade.repository.opener().box
    tree_id = handmade.tree(Node(b"x", NodeType.FIFO))
    tree = handmade.repository.load_blob(BlobKind.TREE, tree_id)
    handmade.pack(b"data")
    data_id = _entries(handmade)[-1][1][0].id
    sealed = [box.seal(tree), box.seal(b"data")]
    blobs = [
        PackedBlob(BlobKind.TREE, tree_id, 0, len(sealed[0]), 0),
        PackedBlob(BlobKind.DATA, data_id, len(sealed[0]), len(sealed[1]), 0),
    ]
    header = box.seal(encode_header(blobs))
    mixed = _store(handmade, b"".join([*sealed, header, encode_trailer(len(header))]))
    _save_index(handmade, (mixed, blobs), *_entries(handmade))
    result = _check(handmade)
    assert [(finding.kind, finding.subject) for finding in result.findings] == [(FindingKind.MIXED_PACK, mixed.hex())]
    assert result.errors == []


def _store(made: Handmade, stored: bytes) -> StorageId:
    pack_id = StorageId(sha256(stored).digest())
    made.repository.backend.save(made.handle(pack_id), Content(memoryview(stored), pack_id))
    return pack_id


def test_pack_in_two_indexes(handmade: Handmade) -> None:
    """An index written twice is harmless; two that disagree are not."""
    handmade.pack(b"one", b"two")
    ((pack_id, blobs),) = _entries(handmade)
    _save_index(handmade, (pack_id, blobs))
    _save_index(handmade, (pack_id, blobs))
    result = _check(handmade)
    assert _kinds(result) == [FindingKind.DUPLICATE_PACK]
    assert result.errors == []


def test_pack_split_over_indexes(handmade: Handmade) -> None:
    """Old versions of restic split a pack over two indexes: its blobs are all known, the indexes want repair."""
    handmade.pack(b"one", b"two")
    ((pack_id, blobs),) = _entries(handmade)
    _save_index(handmade, (pack_id, blobs[:1]))
    _save_index(handmade, (pack_id, blobs[1:]))
    result = _check(handmade)
    assert _kinds(result) == [FindingKind.INDEX_DIFFERS]
    assert result.broken_packs == [pack_id.hex()]


def test_index_with_part_of_a_pack(handmade: Handmade) -> None:
    """A blob that the index forgot would be lost with the next prune."""
    handmade.pack(b"one", b"two", b"three")
    ((pack_id, blobs),) = _entries(handmade)
    _save_index(handmade, (pack_id, [blobs[0], blobs[2]]))
    assert _kinds(_check(handmade)) == [FindingKind.PACK_SIZE, FindingKind.PACK_DATA]


def test_old_index_layout(handmade: Handmade) -> None:
    """Repositories of restic's first years have indexes that are a bare list."""
    _save_snapshot(handmade, handmade.file(b"file", b"content"))
    old = encode_index(_entries(handmade)).strip()[len(b'{"packs":') : -1]
    handmade.repository.save_unpacked(FileKind.INDEX, old)
    assert _check(handmade).findings == []


def test_damaged_index(handmade: Handmade) -> None:
    """Without a sound index everything else would seem lost: that alone is reported."""
    _save_snapshot(handmade, handmade.file(b"file", b"content"))
    index_id = _save_index(handmade, *_entries(handmade))
    _change(handmade, Handle(FileKind.INDEX, index_id.hex()), _flip(30))
    (finding,) = _check(handmade).findings
    assert (finding.kind, finding.subject) == (FindingKind.INDEX, index_id.hex())


def test_damaged_snapshot(handmade: Handmade) -> None:
    """A damaged snapshot is named, and the others are checked all the same."""
    lost = _save_snapshot(handmade, handmade.file(b"file", b"content"))
    _finish(handmade, Node(b"d", NodeType.DIR, subtree=BlobId(bytes([9]) * 32)))
    _change(handmade, Handle(FileKind.SNAPSHOT, lost.hex()), _flip(3))
    result = _check(handmade)
    assert _kinds(result) == [FindingKind.SNAPSHOT, FindingKind.TREE]
    assert result.broken_snapshots == [lost.hex()]


class TestSelection:
    """Checking some snapshots reads what they need, no more."""

    @pytest.fixture
    def two(self, handmade: Handmade) -> tuple[Handmade, StorageId, StorageId]:
        """Two snapshots of two hosts, the second of them with damaged data."""
        first = _save_snapshot(handmade, handmade.file(b"file", b"good"), host="good")
        damaged = handmade.pack(b"bad")
        second = _save_snapshot(handmade, handmade.file(b"file", b"bad", stored=False), host="bad")
        _save_index(handmade, *_entries(handmade))
        _change(handmade, handmade.handle(damaged), _flip(20))
        return handmade, first, second

    def test_by_name(self, two: tuple[Handmade, StorageId, StorageId]) -> None:
        """The damage is found from the snapshot that has it."""
        made, first, second = two
        result = _check(made, CheckOptions(EveryPack(), [first.hex()[:8]]))
        assert (result.findings, result.packs_read) == ([], 2)
        assert _kinds(_check(made, CheckOptions(EveryPack(), [second.hex()]))) == [FindingKind.PACK_DATA]

    def test_by_filter(self, two: tuple[Handmade, StorageId, StorageId]) -> None:
        """As does a filter."""
        made = two[0]
        for host, kinds in ("good", []), ("bad", [FindingKind.PACK_DATA]):
            options = CheckOptions(EveryPack(), snapshot_filter=SnapshotFilter([host]))
            assert _kinds(_check(made, options)) == kinds

    def test_unknown_name(self, two: tuple[Handmade, StorageId, StorageId]) -> None:
        """A snapshot that is not there must not pass for one that is sound."""
        result = _check(two[0], CheckOptions(None, ["abcdef"]))
        assert (_kinds(result), result.broken_snapshots) == ([FindingKind.SNAPSHOT], [])


class _Unreliable(WrappingBackend):
    """Spoils the first answer of every pack."""

    def __init__(self, inner: MemoryBackend) -> None:
        super().__init__(inner)
        self.spoiled: set[str] = set()

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        super().load_into(handle, offset_bytes, buffer)
        if handle.name not in self.spoiled:
            self.spoiled.add(handle.name)
            buffer[0] ^= 1


def test_bad_transfer(handmade: Handmade) -> None:
    """What is sound on second attempt is told apart: the way to the storage is bad, not the pack."""
    _finish(handmade, handmade.file(b"file", b"content"))
    inner = handmade.repository.backend
    while isinstance(inner, WrappingBackend):
        inner = inner.inner
    assert isinstance(inner, MemoryBackend)
    with Repository.open(_Unreliable(inner), PASSWORD) as repository:
        findings = check(repository, READ_ALL).findings
    assert [finding.kind for finding in findings] == [FindingKind.PACK_DATA]
    assert "second attempt" in findings[0].details[0]


def test_findings_are_told_at_once(handmade: Handmade) -> None:
    """Who watches a check of days wants to know of damage when it is found."""
    _finish(handmade, Node(b"", NodeType.FIFO))
    told: list[Finding] = []
    with Repository.open(handmade.repository.backend, PASSWORD) as repository:
        result = check(repository, READ_ALL, SilentReporter(), told.append)
    assert told == result.findings != []


def test_in_processes(handmade: Handmade, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked workers find the same."""
    monkeypatch.delenv("LIMPET_THREADS")
    pack_id = handmade.pack(*(bytes([number]) * 1_000_000 for number in range(12)))
    blobs = [bytes([number]) * 1_000_000 for number in range(12)]
    _finish(handmade, handmade.file(b"file", *blobs, stored=False))
    assert _check(handmade).findings == []
    _change(handmade, handmade.handle(pack_id), _flip(7_000_000))
    (finding,) = _check(handmade).findings
    assert (finding.kind, finding.details[0].count("blob ")) == (FindingKind.PACK_DATA, 1)


def _packs(count: int) -> list[tuple[StorageId, int]]:
    return [(StorageId(bytes([number]) * 32), 100) for number in range(count)]


class TestSubsets:
    """Parts of the data, over many runs all of it."""

    def test_groups_cover_all(self) -> None:
        """After t runs with n from 1 to t every pack was read once."""
        packs = _packs(200)
        chosen = [pack for number in range(1, 8) for pack in PackGroup(number, 7).choose(packs)]
        assert sorted(chosen) == packs

    @pytest.mark.parametrize(("percent", "count"), [(100, 50), (50, 25), (1, 1), (0.01, 1)])
    def test_percent(self, percent: float, count: int) -> None:
        """A share of the packs, never none."""
        chosen = PackPercent(percent).choose(_packs(50))
        assert len(set(chosen)) == count
        assert PackPercent(percent).choose([]) == []

    @pytest.mark.parametrize(("size", "count"), [(1, 1), (2500, 25), (10**12, 50)])
    def test_bytes(self, size: int, count: int) -> None:
        """About so many bytes, all if it is more than there is."""
        assert len(PackBytes(size).choose(_packs(50))) == count
        assert PackBytes(size).choose([]) == []

    @pytest.mark.parametrize("make", [
        lambda: PackGroup(0, 1), lambda: PackGroup(2, 1), lambda: PackGroup(1, 257), lambda: PackPercent(0),
        lambda: PackPercent(100.5), lambda: PackBytes(0),
    ])  # fmt: skip
    def test_nonsense(self, make: Callable[[], object]) -> None:
        """A subset of nothing would find nothing, and say that all is well."""
        with pytest.raises(UsageError):
            make()
