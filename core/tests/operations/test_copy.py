"""Copying snapshots: what is copied, what is not, and what a crash, damage or a full storage leaves behind."""

from __future__ import annotations

import os
from concurrent.futures import Future
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet import copy
from limpet.contracts.backend import Backend, Content, FileKind, Handle
from limpet.errors import BackendError, IntegrityError
from limpet.format.compression import Level
from limpet.format.pack import BlobKind
from limpet.format.snapshot import encode_snapshot
from limpet.ids import BlobId, parse_storage_id
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.operations.copy import CopiedBefore
from limpet.operations.copy.needs import JOIN_GAP_BYTES, Needs
from limpet.operations.copy.transfer import READ_BYTES
from limpet.repository.repository import Repository, RepositorySettings
from limpet.repository.sealing import TASK_BLOBS, TASK_BYTES
from limpet.repository.snapshots import load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import CrashError, Operation, RecordingBackend
from limpet.testing.backups import PASSWORD, BackupScene, cheap_kdf

MIB = 1024 * 1024
SMALL_PACKS = RepositorySettings(pack_size_bytes=4 * MIB)


def new_repository(
    backend: Backend | None = None, *, version: int = 2, options: RepositorySettings = SMALL_PACKS
) -> Repository:
    """An empty repository, open."""
    return Repository.create(backend or MemoryBackend(), PASSWORD, version=version, kdf=cheap_kdf(), settings=options)


def reopened(backend: Backend) -> Repository:
    """The repository as another process sees it."""
    repository = Repository.open(backend, PASSWORD)
    repository.load_index()
    return repository


def problems(backend: Backend) -> list[str]:
    """What a check of all data finds."""
    return [str(error) for error in check(Repository.open(backend, PASSWORD), CheckOptions(EveryPack())).errors]


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """Two snapshots that share most of what they hold: small files, a large one, an empty one, text."""
    scene = BackupScene(tmp_path / "work", settings=SMALL_PACKS)
    fill(scene.folder)
    scene.backup(tags=["first"])
    (scene.folder / "more").write_bytes(os.urandom(5000))
    scene.backup()
    return scene


def fill(folder: Path) -> None:
    """Something of everything that matters to packs."""
    (folder / "sub").mkdir()
    (folder / "large").write_bytes(os.urandom(9 * MIB))
    (folder / "text").write_text("all work and no play\n" * 100_000)
    (folder / "empty").touch()
    for number in range(30):
        (folder / "sub" / str(number)).write_bytes(os.urandom(100 * number))


@pytest.mark.parametrize("level", [Level.AUTO, Level.OFF, Level.MAX])
@pytest.mark.parametrize(("from_version", "to_version"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_everything_arrives(tmp_path: Path, from_version: int, to_version: int, level: Level) -> None:
    """A copy that lacks a blob, or holds it compressed where it must not be, is no backup."""
    scene = BackupScene(tmp_path / "work", version=from_version, settings=SMALL_PACKS)
    fill(scene.folder)
    scene.backup()
    destination = new_repository(
        version=to_version, options=RepositorySettings(compression=level, pack_size_bytes=4 * MIB)
    )
    copied = copy(scene.open(), destination)
    assert [one.source.id for one in copied] == [stored.id for stored in scene.snapshots()]
    assert problems(destination.backend) == []
    there = reopened(destination.backend)
    source = scene.open()
    ids = [blob_id for _, blob_id in source.index.iterate(BlobKind.DATA)]
    assert all(there.load_blob(BlobKind.DATA, one) == source.load_blob(BlobKind.DATA, one) for one in ids)
    places = [place for one in ids if (place := there.index.find(BlobKind.DATA, one))]
    assert {bool(place.plain_length_bytes) for place in places} == {to_version == 2 and level is not Level.OFF}


def test_a_kept_frame_is_the_very_same(scene: BackupScene) -> None:
    """Compressing anew what is compressed already costs most of a copy's time, for nothing."""
    scene_frames = frames(scene.open())
    destination = new_repository()
    copy(scene.open(), destination)
    assert frames(reopened(destination.backend)) == scene_frames


def frames(repository: Repository) -> dict[bytes, bytes]:
    """What is inside the seal of each data blob."""
    found: dict[bytes, bytes] = {}
    for kind, blob_id in repository.index.iterate(BlobKind.DATA):
        place = repository.index.find(kind, blob_id)
        assert place is not None
        handle = Handle(FileKind.PACK, place.pack_id.hex())
        sealed = repository.backend.load(handle, place.offset_bytes, place.length_bytes)
        found[blob_id] = repository.opener().box.open(sealed)
    return found


def test_what_is_copied_is_not_copied_again(scene: BackupScene) -> None:
    """A nightly copy would store every snapshot anew each night."""
    destination = RecordingBackend(MemoryBackend())
    new_repository(destination)
    assert len(copy(scene.open(), reopened(destination))) == 2
    destination.calls.clear()
    assert copy(scene.open(), reopened(destination)) == []
    assert destination.saved(FileKind.PACK) == destination.saved(FileKind.SNAPSHOT) == 0
    scene.backup()  # a third, whose data is all there
    assert len(copy(scene.open(), reopened(destination))) == 1
    assert destination.saved(FileKind.SNAPSHOT) == 1


def test_a_snapshot_that_was_changed_since_is_copied(scene: BackupScene) -> None:
    """Who adds a tag at the source expects it at the destination."""
    destination = new_repository()
    copied = copy(scene.open(), destination)
    assert copied[0].source.snapshot.tags == ["first"]
    before = CopiedBefore(load_snapshots(destination))
    stored = copied[0].source
    assert before.find(stored) is not None
    for changes in ({"tags": ["other"]}, {"hostname": "other"}, {"tree": BlobId(bytes(32))}, {"excludes": ["x"]}):
        assert before.find(replace(stored, snapshot=replace(stored.snapshot, **changes))) is None
    same = replace(stored.snapshot, parent=stored.id, paths=stored.snapshot.paths[::-1])
    assert before.find(replace(stored, snapshot=same)) is not None


def test_the_copy_names_its_original_and_keeps_unknown_fields(scene: BackupScene) -> None:
    """Copies of copies are recognised by the first original; what other programs wrote must not get lost."""
    source = scene.open()
    stored = load_snapshots(source)[1]
    assert stored.snapshot.parent is not None
    foreign = replace(stored.snapshot, extra={"label": "of another program"}, description="why")
    source.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(foreign))
    source.remove_unpacked(FileKind.SNAPSHOT, stored.id)
    second, third = new_repository(), new_repository()
    copied = copy(source, second)
    copy(second, third)
    for repository in (second, third):
        ours = load_snapshots(repository)[1].snapshot
        assert ours.original == copied[1].source.id
        assert (ours.parent, ours.extra, ours.description) == (None, {"label": "of another program"}, "why")


def test_every_crash_leaves_a_sound_repository(scene: BackupScene) -> None:
    """A copy that is killed must never leave a snapshot without its data; the next run goes on from there."""
    total = 0
    while True:
        recording = RecordingBackend(MemoryBackend())
        new_repository(recording)
        saves = frozenset({Operation.SAVE})
        recording.stop_after(total, operations=saves)
        try:
            copied = copy(scene.open(), reopened(recording))
        except CrashError:
            copied = None
        recording.heal()
        for info in list(recording.list(FileKind.LOCK)):
            recording.remove(Handle(FileKind.LOCK, info.name))
        assert problems(recording) == []
        if copied is not None:
            break
        assert len(copy(scene.open(), reopened(recording))) + total >= 2
        assert problems(recording) == []
        assert len(load_snapshots(reopened(recording))) >= 2
        total += 1
    kinds = [call.kind for call in recording.calls if call.operation is Operation.SAVE]
    packs = [number for number, kind in enumerate(kinds) if kind is FileKind.PACK]
    indexes = [number for number, kind in enumerate(kinds) if kind is FileKind.INDEX]
    snapshots = [number for number, kind in enumerate(kinds) if kind is FileKind.SNAPSHOT]
    assert max(packs) < max(indexes) < min(snapshots)
    assert len(snapshots) == 2
    assert total > 5


def test_each_pack_is_read_once(scene: BackupScene) -> None:
    """Every request to a remote storage costs time and money."""
    source = scene.open()
    before = scene.backend.loaded(FileKind.PACK)
    copy(source, new_repository())
    size = sum(info.size_bytes for info in scene.backend.list(FileKind.PACK))
    loads = [call for call in scene.backend.calls if call.operation is Operation.LOAD and call.kind is FileKind.PACK]
    loaded = sum(call.length_bytes or 0 for call in loads[before:])
    assert loaded <= size
    # Two neighbouring reads of a pack are together longer than one may be, else they had been joined.
    packs = len({call.name for call in loads[before:]})
    assert len(loads) - before <= packs + 2 * size // READ_BYTES


def test_a_damaged_blob_is_taken_from_its_other_place(scene: BackupScene) -> None:
    """One flipped bit must not stop the copy of a repository that holds the blob twice."""
    source = scene.open()
    place = next(
        place
        for kind, blob_id in source.index.iterate(BlobKind.DATA)
        if (place := source.index.find(kind, blob_id)) is not None
    )
    pack = Handle(FileKind.PACK, place.pack_id.hex())
    data = bytearray(scene.backend.load(pack))
    twin = bytes(data)
    blobs = source.index.pack_blobs(place.pack_id)
    data[place.offset_bytes + 20] ^= 1
    scene.backend.remove(pack)
    scene.backend.save(pack, Content(memoryview(data), sha256(data).digest()))
    with pytest.raises(IntegrityError, match="cannot be read"):
        copy(scene.open(), new_repository())
    padded = twin + os.urandom(1)  # another name for the same blobs
    other = sha256(padded).digest()
    scene.backend.save(Handle(FileKind.PACK, other.hex()), Content(memoryview(padded), other))
    writer = scene.open()
    writer.save_index([(type(place.pack_id)(other), blobs)])
    destination = new_repository()
    assert len(copy(scene.open(), destination)) == 2
    assert problems(destination.backend) == []


def test_an_error_while_a_blob_is_fetched_again_ends_the_copy(
    scene: BackupScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error that nobody thought of, such as a lack of memory, may leave the copy waiting for ever."""
    source = scene.open()
    for info in scene.backend.list(FileKind.PACK):
        damaged = bytearray(scene.backend.load(Handle(FileKind.PACK, info.name)))
        if any(blob.kind is BlobKind.DATA for blob in source.index.pack_blobs(parse_storage_id(info.name))):
            damaged[20] ^= 1
            scene.backend.remove(Handle(FileKind.PACK, info.name))
            scene.backend.save(Handle(FileKind.PACK, info.name), Content(memoryview(damaged), sha256(damaged).digest()))

    def without_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(source, "load_blob", without_memory)
    ended: Future[object] = Future()

    def run() -> None:
        try:
            ended.set_result(copy(source, new_repository()))
        except BaseException as error:
            ended.set_exception(error)

    Thread(target=run, daemon=True).start()
    with pytest.raises(MemoryError):
        ended.result(timeout=20)


def test_missing_data_is_an_error(scene: BackupScene) -> None:
    """A copy that lacks what its source has lost would look like a backup."""
    source = scene.open()
    pack_id = next(
        place.pack_id
        for kind, blob_id in source.index.iterate(BlobKind.DATA)
        if (place := source.index.find(kind, blob_id)) is not None
    )
    left = [(pack, source.index.pack_blobs(pack)) for pack in source.index.pack_ids() if pack != pack_id]
    for info in source.list_files(FileKind.INDEX):
        scene.backend.remove(Handle(FileKind.INDEX, info.name))
    source.save_index(left)
    destination = new_repository()
    with pytest.raises(IntegrityError, match="is in no index of the source repository"):
        copy(scene.open(), destination)
    assert load_snapshots(destination) == []


@pytest.mark.parametrize("kind", [FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT])
def test_a_full_destination_is_an_error(scene: BackupScene, kind: FileKind) -> None:
    """Told as it is, with no snapshot that promises what was not stored; and it ends."""

    class Full(MemoryBackend):
        def save(self, handle: Handle, content: Content) -> None:
            if handle.kind is kind:
                raise BackendError("no space left", permanent=True)
            super().save(handle, content)

    destination = new_repository(Full())
    with pytest.raises(BackendError, match="no space left"):
        copy(scene.open(), destination)
    assert load_snapshots(destination) == []
    assert problems(destination.backend) == []


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(33, 3 * MIB), min_size=1, max_size=60),
    factor=st.integers(1, 20),
    wanted=st.randoms(use_true_random=False),
)
def test_ranges_bring_every_blob_once(lengths: list[int], factor: int, wanted: object) -> None:
    """A blob that no range brings would be missing in the copy; a task too large would burst its pack."""
    import random  # noqa: PLC0415  # the type alone

    assert isinstance(wanted, random.Random)
    needs = Needs()
    expected = set()
    offset = 0
    for number, length in enumerate(lengths):
        blob_id = number.to_bytes(32, "big")
        if wanted.random() < 0.7:
            plain = min(8 * MIB, length * factor) if factor > 1 else 0
            needs.add(blob_id, (b"p" * 32, offset, length, plain))
            expected.add((offset, length, plain, blob_id))
        offset += length
    limit = 8 * MIB
    found = list(needs.ranges(limit))
    assert {blob for one in found for blob in one.blobs} == expected
    assert sum(len(one.blobs) for one in found) == len(expected)
    assert [one.is_last for one in found] == [False] * (len(found) - 1) + [True] * bool(found)
    for one in found:
        assert one.offset_bytes == one.blobs[0][0]
        assert one.offset_bytes + one.length_bytes == one.blobs[-1][0] + one.blobs[-1][1]
        assert len(one.blobs) == 1 or one.length_bytes <= limit
        assert len(one.blobs) <= TASK_BLOBS
        plains = sum(plain or length - 32 for _, length, plain, _ in one.blobs)
        assert len(one.blobs) == 1 or plains <= TASK_BYTES
        for first, second in zip(one.blobs, one.blobs[1:], strict=False):
            assert second[0] - first[0] - first[1] <= JOIN_GAP_BYTES
