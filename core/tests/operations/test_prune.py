"""Prune on repositories built by hand: what is kept, what is refused, what is never removed without a lock."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import pytest
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError, LimpetError, LockedError, RepositoryError, UsageError
from limpet.format.node import Node
from limpet.format.pack import BlobKind, PackedBlob
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, StorageId
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.operations.prune import PruneOptions, UnusedLimit
from limpet.operations.prune.run import prune
from limpet.repository.repository import Repository, RepositorySettings
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import WRITES, Operation, RecordingBackend
from limpet.testing.handmade import PASSWORD, Handmade

NOTHING_UNUSED = PruneOptions(max_unused=UnusedLimit(size_bytes=0))
TIME = Time(1_700_000_000_000_000_000)


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads in the place of processes, which cost more than all the rest here."""
    monkeypatch.setenv("LIMPET_THREADS", "1")


@dataclass(frozen=True, slots=True)
class Built:
    """A repository built by hand, and its storage."""

    made: Handmade
    memory: MemoryBackend
    recording: RecordingBackend

    def snapshot(self, *nodes: Node) -> StorageId:
        """Store a snapshot of these nodes."""
        snapshot = Snapshot(time=TIME, tree=self.made.tree(*nodes), paths=["/"], hostname="here")
        return self.made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))

    def save_index(self) -> None:
        """Store the index of all packs so far."""
        index = self.made.repository.index
        self.made.repository.save_index([(pack_id, index.pack_blobs(pack_id)) for pack_id in index.pack_ids()])

    def open(self) -> Repository:
        """The repository as another process finds it."""
        return Repository.open(self.recording, PASSWORD)

    def packs(self) -> set[str]:
        """The names of the packs that are stored."""
        return {info.name for info in self.memory.list(FileKind.PACK)}

    def load(self, *blobs: bytes) -> None:
        """AssertionError unless these are there and sound."""
        repository = self.open()
        repository.load_whole_index()
        for blob in blobs:
            assert repository.load_blob(BlobKind.DATA, _id(blob)) == blob

    def errors(self) -> list[str]:
        """What a check of all data finds."""
        return [str(one) for one in check(self.open(), CheckOptions(EveryPack())).errors]


@pytest.fixture
def built() -> Built:
    """An empty one."""
    memory = MemoryBackend()
    recording = RecordingBackend(memory)
    return Built(Handmade(recording), memory, recording)


def _id(blob: bytes) -> BlobId:
    return BlobId(sha256(blob).digest())


def test_unused_blobs_go_and_used_ones_stay(built: Built) -> None:
    """The whole point of it."""
    kept = built.made.pack(b"one", b"two")
    partly = built.made.pack(b"three", b"unused" * 500)
    unused = built.made.pack(b"nobody needs this")
    built.snapshot(built.made.file(b"f", b"one", b"two", b"three", stored=False))
    built.save_index()
    stranger = built.made.pack(b"in no index")
    result = prune(built.open(), NOTHING_UNUSED)
    assert kept.hex() in built.packs()
    assert {pack.hex() for pack in (partly, unused, stranger)}.isdisjoint(built.packs())
    assert (result.packs.used, result.packs.partly_used, result.packs.unused, result.packs.unreferenced) == (2, 1, 1, 1)
    assert (result.blobs.remove, result.blobs.repack_remove, result.packs_left) == (1, 1, 0)
    built.load(b"one", b"two", b"three")
    assert built.errors() == []
    repository = built.open()
    repository.load_whole_index()
    assert not repository.index.contains(BlobKind.DATA, _id(b"nobody needs this"))


def test_a_dry_run_writes_nothing(built: Built) -> None:
    """Whoever only looks must not lose anything by it."""
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one"))
    built.save_index()
    built.recording.calls.clear()
    result = prune(built.open(), PruneOptions(dry_run=True))
    assert result.dry_run
    assert result.blobs.remove == 1
    assert not any(call.operation in WRITES for call in built.recording.calls)


def test_snapshots_that_are_about_to_go(built: Built) -> None:
    """`forget --prune --dry-run` says what would be freed, and only says it."""
    first = built.snapshot(built.made.file(b"f", b"one"))
    built.snapshot(built.made.file(b"f", b"two"))
    built.save_index()
    assert prune(built.open(), PruneOptions(dry_run=True)).blobs.unused == 0
    assert prune(built.open(), PruneOptions(dry_run=True), ignored_snapshots=[first]).blobs.unused == 2
    with pytest.raises(ValueError, match="cannot be removed"):
        prune(built.open(), ignored_snapshots=[first])
    built.load(b"one", b"two")


def test_a_pack_that_is_missing_saves_no_blob(built: Built) -> None:
    """restic 0.19 loses the blob here: it believes that the missing pack, which stays out of the index, has a copy."""
    built.made.pack(b"needed", b"needed as well", b"unused" * 1000)
    built.snapshot(built.made.file(b"f", b"needed", b"needed as well", stored=False))
    lost = PackedBlob(BlobKind.DATA, _id(b"needed"), 0, 38, 0)
    unneeded = PackedBlob(BlobKind.DATA, _id(b"?"), 38, 33, 0)
    built.made.repository.index.add_pack(StorageId(bytes(31) + b"\1"), [unneeded, lost])
    built.save_index()
    prune(built.open(), NOTHING_UNUSED)
    built.load(b"needed", b"needed as well")
    assert built.errors() == []


def test_needed_data_that_is_missing(built: Built) -> None:
    """In a repository that has lost something nothing more may be removed: it may be what a repair needs."""
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one", stored=False))
    built.save_index()
    packs = built.packs()
    with pytest.raises(RepositoryError, match="index is not complete"):
        prune(built.open(), NOTHING_UNUSED)
    assert built.packs() == packs


def test_needed_packs_that_are_missing(built: Built) -> None:
    """The same, where the index still knows the blob."""
    pack = built.made.pack(b"one")
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one", stored=False))
    built.save_index()
    built.made.replace_pack(pack, None)
    packs = built.packs()
    with pytest.raises(RepositoryError, match="missing in repo"):
        prune(built.open(), NOTHING_UNUSED)
    assert built.packs() == packs


def test_packs_of_another_size(built: Built) -> None:
    """A pack that was cut is kept for `repair packs`; one that nobody needs may go."""
    needed, unused = built.made.pack(b"one"), built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one", stored=False))
    built.save_index()
    built.made.replace_pack(unused, b"cut")
    prune(built.open(), NOTHING_UNUSED)
    assert unused.hex() not in built.packs()
    handle = built.made.handle(needed)
    built.memory.files[handle] = built.memory.files[handle][:-1]
    with pytest.raises(RepositoryError, match="does not match"):
        prune(built.open(), NOTHING_UNUSED)
    assert needed.hex() in built.packs()


def _damage_snapshot(built: Built) -> None:
    handle = next(handle for handle in built.memory.files if handle.kind is FileKind.SNAPSHOT)
    built.memory.files[handle] = built.memory.files[handle][:-1] + b"\0"


def _damage_index(built: Built) -> None:
    handle = next(handle for handle in built.memory.files if handle.kind is FileKind.INDEX)
    built.memory.files[handle] = built.memory.files[handle][:-1] + b"\0"


def _damage_trees(built: Built) -> None:
    for pack_id in built.made.repository.index.pack_ids():
        if built.made.repository.index.pack_blobs(pack_id)[0].kind is BlobKind.TREE:
            handle = built.made.handle(pack_id)
            built.memory.files[handle] = bytes(len(built.memory.files[handle]))


def _snapshot_without_tree(built: Built) -> None:
    snapshot = Snapshot(time=TIME, tree=None, paths=["/"], hostname="here")
    built.made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))


def _tree_of_nonsense(built: Built, content: bytes = b'"a string"') -> None:
    data = b'{"nodes":[{"name":"f","type":"file","content":%b}]}\n' % content
    built.made.pack(data, kind=BlobKind.TREE)
    snapshot = Snapshot(time=TIME, tree=_id(data), paths=["/"], hostname="here")
    built.made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    built.save_index()


def _tree_names_no_id(built: Built) -> None:
    _tree_of_nonsense(built, b'["no id"]')


@pytest.mark.parametrize(
    "harm",
    [
        _damage_snapshot,
        _damage_index,
        _damage_trees,
        _snapshot_without_tree,
        _tree_of_nonsense,
        _tree_names_no_id,
    ],
    ids=lambda harm: harm.__name__,
)
def test_what_cannot_be_read_may_need_anything(built: Built, harm: object) -> None:
    """As long as one snapshot, index or folder is a riddle nobody knows what it needs."""
    assert callable(harm)
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one"))
    built.save_index()
    harm(built)
    packs = built.packs()
    built.recording.calls.clear()
    with pytest.raises(LimpetError):
        prune(built.open(), NOTHING_UNUSED)
    assert built.packs() == packs
    assert not any(call.operation in WRITES for call in built.recording.calls)


def test_a_damaged_blob_is_fetched_from_its_other_place(built: Built) -> None:
    """What is about to be removed may be the only sound copy."""
    built.made.pack(b"x" * 100, b"unused" * 1000)
    bad = built.made.pack(b"x" * 100, b"y" * 100, b"unused too" * 1000)
    built.snapshot(built.made.file(b"f", b"x" * 100, b"y" * 100, stored=False))
    built.save_index()
    handle = built.made.handle(bad)
    stored = bytearray(built.memory.files[handle])
    stored[50] ^= 1
    built.memory.files[handle] = bytes(stored)
    prune(built.open(), NOTHING_UNUSED)
    built.load(b"x" * 100, b"y" * 100)
    assert built.errors() == []


def test_a_blob_that_is_damaged_for_good(built: Built) -> None:
    """The pack of a damaged blob stays, with all that is still good in it."""
    bad = built.made.pack(b"x" * 100, b"y" * 100, b"unused" * 1000)
    built.snapshot(built.made.file(b"f", b"x" * 100, b"y" * 100, stored=False))
    built.save_index()
    handle = built.made.handle(bad)
    stored = bytearray(built.memory.files[handle])
    stored[50] ^= 1
    built.memory.files[handle] = bytes(stored)
    with pytest.raises(IntegrityError, match="cannot be read"):
        prune(built.open(), NOTHING_UNUSED)
    assert bad.hex() in built.packs()
    built.load(b"y" * 100)


def test_no_pack_goes_without_the_lock(built: Built) -> None:
    """Whoever has removed our lock by force may be storing what we take for unused."""
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one"))
    built.save_index()
    packs = built.packs()
    repository = built.open()
    with repository.lock(exclusive=True):
        for info in list(built.memory.list(FileKind.LOCK)):
            built.memory.remove(Handle(FileKind.LOCK, info.name))
        with pytest.raises(LockedError):
            prune(repository, NOTHING_UNUSED)
    assert built.packs() == packs


def test_the_lock_is_looked_up_right_before_packs_go(built: Built) -> None:
    """Between the new index and the removal there may be an hour."""
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one"))
    built.save_index()
    repository = built.open()
    with repository.lock(exclusive=True):
        built.recording.calls.clear()
        prune(repository, NOTHING_UNUSED)
        calls = list(built.recording.calls)
    first = next(
        at for at, call in enumerate(calls) if call.operation is Operation.REMOVE and call.kind is FileKind.PACK
    )
    assert (calls[first - 1].operation, calls[first - 1].kind) == (Operation.STAT, FileKind.LOCK)
    assert calls[first].operation is Operation.REMOVE


def test_packs_that_cannot_be_removed_are_left(built: Built) -> None:
    """A storage that is append-only for a while: too many packs do no harm, and are counted."""
    built.made.pack(b"unused")
    built.snapshot(built.made.file(b"f", b"one"))
    built.save_index()
    repository = built.open()
    failing = BackendError("not allowed", permanent=True)
    built.recording.fail_after(1, operations=[Operation.REMOVE], error=failing)  # the old index goes
    assert prune(repository, NOTHING_UNUSED).packs_left == 1
    built.recording.heal()
    assert built.errors() == []
    assert prune(built.open(), NOTHING_UNUSED).packs.unreferenced == 1


def test_small_packs_are_joined_once(built: Built) -> None:
    """Packs that every prune rewrites again would cost the whole repository's traffic each night."""
    blobs = [b"%d" % number * 300 for number in range(40)]
    for blob in blobs:
        built.made.pack(blob)
    built.snapshot(built.made.file(b"f", *blobs, stored=False))
    built.save_index()
    assert prune(built.open()).packs.repack == 41  # and that of the tree
    packs = built.packs()
    assert len(packs) < 10
    again = prune(built.open())
    assert again.packs.repack == 0
    assert built.packs() == packs
    built.load(*blobs)


def test_blobs_without_compression(built: Built) -> None:
    """--repack-uncompressed compresses what is not; trees always are when they are met."""
    built.made.pack(b"a" * 10_000)
    built.snapshot(built.made.file(b"f", b"a" * 10_000, stored=False))
    built.save_index()
    assert prune(built.open()).sizes.uncompressed > 10_000
    result = prune(built.open(), PruneOptions(repack_uncompressed=True))
    assert result.sizes.uncompressed == 0
    repository = built.open()
    repository.load_whole_index()
    place = repository.index.find(BlobKind.DATA, _id(b"a" * 10_000))
    assert place is not None
    assert place.plain_length_bytes == 10_000
    assert place.length_bytes < 200
    built.load(b"a" * 10_000)


def test_a_pack_is_not_taken_for_small_beyond_its_size(built: Built) -> None:
    """A limit above the size of all packs would rewrite everything, every time."""
    settings = RepositorySettings(pack_size_bytes=1000)
    repository = Repository.open(built.recording, PASSWORD, settings=settings)
    with pytest.raises(UsageError, match="packsize"):
        prune(repository, PruneOptions(repack_smaller_than_bytes=1001))


@pytest.mark.parametrize("percent", [-0.1, 100, 1000])
def test_shares_that_make_no_sense(percent: float) -> None:
    """A share of 100 percent tolerates anything, in a way that nobody meant."""
    with pytest.raises(ValueError, match="percent"):
        UnusedLimit(percent=percent)
