"""Blobs to packs: each once, readable again, in packs of the right size."""

from __future__ import annotations

import queue
import random
from dataclasses import replace
from hashlib import sha256

import pytest
from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.compression import Compressor, Level
from limpet.format.crypto import Box, MasterKey
from limpet.format.pack import BlobKind, PackedBlob, decode_header
from limpet.ids import BlobId, StorageId
from limpet.repository import sealing
from limpet.repository.blob_index import BlobIndex
from limpet.repository.blobs import BlobOpener
from limpet.repository.sealing import FinishedPack, Sealer, SealPlan, pack_buffer_size
from limpet.repository.workers import SharedBuffers

MIB = 1024 * 1024
PACK_SIZE = 4 * MIB
KEY = MasterKey.generate()
TEXT = b"compresses well " * 1000


def make_plan(level: Level = Level.AUTO, *, compress: bool = True, verify: bool = True) -> SealPlan:
    """A plan with two pack buffers."""
    packs = SharedBuffers(2, pack_buffer_size(PACK_SIZE))
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(2):
        free.put(number)
    return SealPlan(
        key=KEY,
        compress=compress,
        level=level,
        verify=verify,
        pack_size_bytes=PACK_SIZE,
        index=BlobIndex(),
        windows=SharedBuffers(1, 4096),
        packs=packs,
        free_packs=free,
        source_key=KEY,
    )


def make_sealer(plan: SealPlan, kind: BlobKind = BlobKind.DATA) -> Sealer:
    """A sealer that claims every blob once."""
    claimed: set[bytes] = set()

    def claim(blob_id: bytes) -> bool:
        is_new = blob_id not in claimed
        claimed.add(blob_id)
        return is_new

    return Sealer(plan, kind, claim)


def stored_bytes(plan: SealPlan, pack: FinishedPack) -> bytes:
    """The pack as it would be uploaded."""
    if isinstance(pack.buffer, int):
        return bytes(plan.packs.view(pack.buffer)[: pack.length_bytes])
    return bytes(pack.buffer[: pack.length_bytes])


def opened(stored: bytes) -> dict[BlobId, bytes]:
    """The blobs that the pack's own header names, each opened and verified."""
    length = int.from_bytes(stored[-4:], "little")
    header = Box(KEY).open(stored[-4 - length : -4])
    opener = BlobOpener(KEY)
    return {
        blob.id: opener.open(
            stored[blob.offset_bytes : blob.offset_bytes + blob.length_bytes], blob.id, blob.plain_length_bytes
        )
        for blob in decode_header(header, len(stored))
    }


@pytest.mark.parametrize("kind", BlobKind)
@pytest.mark.parametrize("level", Level)
def test_packs_open_again(level: Level, kind: BlobKind) -> None:
    """Whatever the level, what comes back has to be what went in."""
    plan = make_plan(level)
    sealer = make_sealer(plan, kind)
    blobs = [TEXT, b"x", bytes(100_000), random.Random(1).randbytes(70_000)]
    ids = [sealer.store(blob) for blob in blobs]
    pack = sealer.take()
    assert pack is not None
    stored = stored_bytes(plan, pack)
    assert sha256(stored).digest() == pack.pack_id
    assert opened(stored) == dict(zip(ids, blobs, strict=True))
    assert [blob.kind for blob in pack.blobs] == [kind] * 4
    assert sealer.added_bytes == sum(map(len, blobs))
    assert sealer.stored_bytes == sum(blob.length_bytes for blob in pack.blobs)


def test_many_at_once() -> None:
    """Blobs that are hashed together must keep their ids, and a batch may hold the same twice."""
    plan = make_plan()
    sealer = make_sealer(plan)
    numbers = random.Random(5)
    blobs = [numbers.randbytes(size) for size in (0, 700_000, 1, 1_500_000, 4096, 64, 900_000)]
    ids = sealer.store_all([*blobs, blobs[3]])
    assert ids == [sha256(blob).digest() for blob in [*blobs, blobs[3]]]
    pack = sealer.take()
    assert pack is not None
    stored = stored_bytes(plan, pack)
    assert sha256(stored).digest() == pack.pack_id
    assert opened(stored) == dict(zip(ids, blobs, strict=False))


def test_version_1_has_no_compression() -> None:
    """Old programs cannot read anything else."""
    plan = make_plan(compress=False)
    sealer = make_sealer(plan)
    sealer.store(TEXT)
    pack = sealer.take()
    assert pack is not None
    assert [blob.plain_length_bytes for blob in pack.blobs] == [0]
    assert pack.blobs[0].length_bytes == len(TEXT) + 32


def test_each_blob_once() -> None:
    """Deduplication is what all of this is for."""
    plan = make_plan()
    sealer = make_sealer(plan)
    known = b"in another pack"
    place = PackedBlob(BlobKind.DATA, BlobId(sha256(known).digest()), 0, 60, 15)
    plan.index.add_pack(StorageId(bytes(32)), [place])
    assert sealer.store(known) == place.id
    assert sealer.take() is None
    assert sealer.store(b"a") == sealer.store(b"a") == sha256(b"a").digest()
    pack = sealer.take()
    assert pack is not None
    assert len(pack.blobs) == 1
    assert sealer.added_bytes == 1


def test_pack_is_full_at_its_size() -> None:
    """Packs of the wrong size cost requests, or memory."""
    plan = make_plan()
    sealer = make_sealer(plan)
    numbers = random.Random(2)
    taken: list[FinishedPack] = []
    while len(taken) < 2:
        before = sealer.room_bytes
        sealer.store(numbers.randbytes(MIB))
        assert sealer.room_bytes < before
        if (pack := sealer.take_full()) is not None:
            taken.append(pack)
    assert all(PACK_SIZE <= pack.length_bytes <= PACK_SIZE + MIB + 4096 for pack in taken)
    assert {pack.buffer for pack in taken} == {0, 1}


def test_largest_blob_fits() -> None:
    """A chunk of 8 MiB that does not compress, into a pack that is nearly full."""
    plan = make_plan()
    sealer = make_sealer(plan)
    numbers = random.Random(3)
    sealer.store(numbers.randbytes(PACK_SIZE - 1000))
    assert sealer.take_full() is None
    large = numbers.randbytes(8 * MIB)
    large_id = sealer.store(large)
    pack = sealer.take_full()
    assert pack is not None
    assert opened(stored_bytes(plan, pack))[large_id] == large


def test_tree_larger_than_any_pack() -> None:
    """A folder of a million files is one tree of hundreds of MiB, which has to be stored like any other."""
    plan = make_plan()
    sealer = make_sealer(plan, BlobKind.TREE)
    sealer.store(b"small")
    large = random.Random(4).randbytes(30 * MIB)
    large_id = sealer.store(large)
    pack = sealer.take_full()
    assert pack is not None
    assert opened(stored_bytes(plan, pack))[large_id] == large


def test_iv_is_never_used_twice() -> None:
    """Two blobs sealed with one IV give away both."""
    plan = make_plan()
    ivs = set()
    for number in range(3):
        sealer = make_sealer(replace(plan, index=BlobIndex()))
        sealer.store(b"the same")
        sealer.store(b"%d" % number)
        pack = sealer.take()
        assert pack is not None
        stored = stored_bytes(plan, pack)
        ivs |= {stored[blob.offset_bytes : blob.offset_bytes + 16] for blob in pack.blobs}
        assert isinstance(pack.buffer, int)
        plan.free_packs.put(pack.buffer)
    assert len(ivs) == 6


class Forgetful(Compressor):
    """A compressor that loses the end of what it is given."""

    def compress(self, data: Buffer) -> bytes:
        """A sound frame, of other data."""
        return super().compress(bytes(data)[:-1] + b"?")


def test_sound_frame_of_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of the compressor that still gives valid frames is only found by the hash (restic issue 4523)."""
    monkeypatch.setattr(sealing, "Compressor", Forgetful)
    sealer = make_sealer(make_plan())
    sealer.store(TEXT)
    for _ in range(2):  # nor the second time: what is in that pack is not known any more
        with pytest.raises(IntegrityError, match="nothing of it was uploaded"):
            sealer.take()
    unverified = make_sealer(make_plan(verify=False))
    unverified.store(TEXT)
    assert unverified.take() is not None


def _into(sealer: Sealer, way: str, data: bytes) -> None:
    """Have the blob put into the pack in one of the ways there are."""
    if way == "backup":
        sealer.store(data)
    elif way == "copy, read anew":
        sealer.store_again(data)
    else:
        stored = Compressor(Level.AUTO).compress(data)
        sealer.reseal(Box(KEY).seal(stored), BlobId(sha256(data).digest()), len(data))


@pytest.mark.parametrize("size", [100, 20_000, 20 * MIB])
@pytest.mark.parametrize("kind", BlobKind)
@pytest.mark.parametrize("way", ["backup", "copy, read anew"])
def test_memory_that_flips_a_bit_after_sealing(way: str, kind: BlobKind, size: int) -> None:
    """Broken memory must not reach the repository, for short blobs, long ones, and those that outgrow the buffer."""
    plan = make_plan()
    sealer = make_sealer(plan, kind)
    numbers = random.Random(size)
    _into(sealer, way, numbers.randbytes(size))  # outgrown or not, what follows is in the same memory
    _into(sealer, way, TEXT)
    place = sealer._places[-1]
    sealer._view[place[1] + numbers.randrange(place[2])] ^= 1 << numbers.randrange(8)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="nothing of it was uploaded"):
            sealer.take()


class Flipping(Box):
    """Seals as in memory that has flipped a bit meanwhile, once it is told to."""

    __slots__ = ("flips",)

    def __init__(self, key: MasterKey) -> None:
        super().__init__(key)
        self.flips = False

    def seal_into(self, plaintext: Buffer, out: memoryview) -> int:
        """The bytes written, one of which is wrong."""
        size = super().seal_into(plaintext, out)
        out[size // 2] ^= self.flips
        return size


@pytest.mark.parametrize("verify", [True, False])
def test_memory_that_flips_a_bit_of_the_header(verify: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack whose header is damaged works until its index is lost, and then nothing of it can be found any more."""
    monkeypatch.setattr(sealing, "Box", Flipping)
    plan = make_plan(verify=verify)
    sealer = make_sealer(plan)
    blob_id = sealer.store(TEXT)
    assert isinstance(sealer._box, Flipping)
    sealer._box.flips = True
    with pytest.raises(IntegrityError, match="header of a pack was damaged"):
        sealer.take()
    sealer._box.flips = False
    pack = sealer.take()
    assert pack is not None
    stored = stored_bytes(plan, pack)
    assert sha256(stored).digest() == pack.pack_id
    assert opened(stored) == {blob_id: TEXT}


def test_memory_that_flips_a_bit_while_a_blob_is_sealed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """copy and prune remove the only sound copy afterwards: what they write has to be read again first."""
    monkeypatch.setattr(sealing, "Box", Flipping)
    sealer = make_sealer(make_plan())
    assert isinstance(sealer._box, Flipping)
    sealer._box.flips = True
    with pytest.raises(IntegrityError, match="nothing of it was uploaded"):
        _into(sealer, "copy", TEXT)
    assert sealer.take() is None


def test_no_pack_of_nothing_but_damaged_blobs() -> None:
    """An empty pack is no pack to restic, and a buffer that is kept for one is missed by others: they would wait."""
    plan = make_plan()
    sealed = Box(KEY).seal(Compressor(Level.AUTO).compress(TEXT))  # a sound seal of what the id does not name
    for _ in range(5):
        sealer = make_sealer(plan)
        assert not sealer.reseal(sealed, BlobId(bytes(32)), len(TEXT))
        assert sealer.take() is None
    assert {plan.free_packs.get() for _ in range(2)} == {0, 1}
