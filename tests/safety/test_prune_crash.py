"""Prune dies at each single storage operation: what snapshots need is there, and the next prune goes on from there."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.errors import BackendError
from limpet.format.pack import BlobKind
from limpet.ids import StorageId
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.operations.prune import PruneOptions, UnusedLimit
from limpet.operations.prune.run import prune
from limpet.operations.walk import walk
from limpet.repository.repository import Repository, RepositorySettings
from limpet.repository.snapshots import load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import WRITES, CrashError, Operation, RecordingBackend
from limpet.testing.backups import PASSWORD, BackupScene
from limpet.testing.restic import Restic

Files = Mapping[Handle, bytes]

EVERYTHING = PruneOptions(max_unused=UnusedLimit(size_bytes=0))
SETTINGS = RepositorySettings(pack_size_bytes=24 * 1024)
JUDGED_BY_RESTIC = 6
"""So many of the crash points are shown to real restic in CI; all of them in the long test."""


def _open(backend: Backend) -> Repository:
    return Repository.open(backend, PASSWORD, settings=SETTINGS)


def _memory(files: Files) -> MemoryBackend:
    backend = MemoryBackend()
    backend.files = dict(files)
    return backend


def _contents(repository: Repository) -> dict[tuple[StorageId, bytes], bytes]:
    """Every file of every snapshot."""
    repository.refresh_index()
    found = {}
    for stored in load_snapshots(repository):
        assert stored.snapshot.tree is not None
        for path, node in walk(repository, stored.snapshot.tree):
            data = b"".join(repository.load_blob(BlobKind.DATA, blob_id) for blob_id in node.content or ())
            found[stored.id, path] = data
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A repository in which there is everything to do that prune can do.

    Packs that are used, partly used and unused; duplicates and packs without an index, from a prune that died.
    """
    memory = MemoryBackend()
    scene = BackupScene(tmp_path_factory.mktemp("crash") / "source", backend=memory, settings=SETTINGS)
    source = random.Random(1)
    for generation in range(14):
        for number in range(30):
            path = scene.folder / f"folder-{number % 4}" / f"file-{number}"
            path.parent.mkdir(exist_ok=True)
            if generation == 0 or number % 7 == generation % 7:
                path.write_bytes(source.randbytes(source.choice((100, 5_000, 40_000))))
        scene.backup()
    for stored in scene.snapshots()[:7]:
        memory.remove(Handle(FileKind.SNAPSHOT, stored.id.hex()))
    dying = RecordingBackend(memory)
    repository = _open(dying)
    dying.stop_after(3)
    with pytest.raises(CrashError):
        prune(repository, EVERYTHING)
    return dict(memory.files)


def _writes(files: Files) -> int:
    recording = RecordingBackend(_memory(files))
    prune(_open(recording), EVERYTHING)
    return sum(call.operation in WRITES for call in recording.calls)


def _crashed(files: Files, writes: int) -> MemoryBackend:
    """The repository after a prune that died before the write of this number."""
    memory = _memory(files)
    recording = RecordingBackend(memory)
    recording.stop_after(writes)
    try:
        prune(_open(recording), EVERYTHING)
    except CrashError:
        return memory
    # Two workers fill packs as it comes, so there may be one fewer than there were before.
    assert sum(call.operation in WRITES for call in recording.calls) <= writes
    return memory


def test_every_point(files: Files) -> None:
    """Whoever pulls the plug must not lose a byte, and the next prune must bring the repository in order."""
    expected = _contents(_open(_memory(files)))
    writes = _writes(files)
    assert writes > 15
    for number in range(writes):
        memory = _crashed(files, number)
        repository = _open(memory)
        assert check(repository, CheckOptions(EveryPack())).errors == [], f"died before write {number}"
        prune(_open(memory), EVERYTHING)
        assert check(_open(memory), CheckOptions(EveryPack())).errors == []
        if number % 5 == 0:
            assert _contents(_open(memory)) == expected
        again = prune(_open(memory), EVERYTHING)
        assert (again.blobs.unused, again.blobs.duplicate, again.packs.unreferenced) == (0, 0, 0)


def test_sample_of_points_before_restic(files: Files, restic_new: Restic, tmp_path: Path) -> None:
    """The judge that is not ours agrees."""
    writes = _writes(files)
    chosen = sorted(random.Random(2).sample(range(writes), JUDGED_BY_RESTIC))
    _assert_restic_agrees(files, chosen, restic_new, tmp_path)


@pytest.mark.long
def test_every_point_before_restic(files: Files, restic_new: Restic, tmp_path: Path) -> None:
    """The judge that is not ours agrees at each of them."""
    _assert_restic_agrees(files, range(_writes(files)), restic_new, tmp_path)


def _assert_restic_agrees(files: Files, points: range | list[int], restic: Restic, folder: Path) -> None:
    expected = _contents(_open(_memory(files)))
    for number in points:
        memory = _crashed(files, number)
        stored = folder / f"point-{number}"
        _write_out(memory.files, stored)
        done = restic.run("check", "--read-data", repo=stored, password=PASSWORD)
        assert b"no errors were found" in done.stdout
        assert _contents(_open(memory)) == expected
        restic.run("prune", "--max-unused", "0", repo=stored, password=PASSWORD)
        restic.run("check", "--read-data", repo=stored, password=PASSWORD)


def _write_out(files: Files, root: Path) -> None:
    for handle, data in files.items():
        folder = root / handle.kind.value
        if handle.kind is FileKind.PACK:
            folder /= handle.name[:2]
        path = root / "config" if handle.kind is FileKind.CONFIG else folder / handle.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for kind in ("locks", "keys", "index", "snapshots", "data"):
        (root / kind).mkdir(exist_ok=True)


@pytest.mark.parametrize("operation", [Operation.SAVE, Operation.REMOVE, Operation.LOAD])
def test_storage_that_fails(files: Files, operation: Operation) -> None:
    """A full or broken storage ends the prune with an error, and costs nothing that is needed."""
    expected = _contents(_open(_memory(files)))
    for number in range(0, 12, 3):
        memory = _memory(files)
        recording = RecordingBackend(memory)
        repository = _open(recording)
        error = BackendError("no space left on the storage", permanent=True)
        recording.fail_after(number, operations=[operation], error=error)
        try:
            result = prune(repository, EVERYTHING)
        except BackendError:
            pass
        else:
            assert recording.count(operation) <= number or (operation is Operation.REMOVE and result.packs_left)
        assert check(_open(memory), CheckOptions(EveryPack())).errors == []
        assert _contents(_open(memory)) == expected


def test_answers_that_are_lost(files: Files) -> None:
    """A removal that worked and whose answer is lost is no reason to leave the index as it is."""
    expected = _contents(_open(_memory(files)))
    for number in range(0, _writes(files), 4):
        memory = _memory(files)
        recording = RecordingBackend(memory)
        repository = _open(recording)
        recording.lose_answer_after(number)
        with contextlib.suppress(BackendError):
            prune(repository, EVERYTHING)
        assert check(_open(memory), CheckOptions(EveryPack())).errors == []
        assert _contents(_open(memory)) == expected


@pytest.fixture(autouse=True)
def _threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads in the place of processes: hundreds of prunes would spend their time forking."""
    monkeypatch.setenv("LIMPET_THREADS", "1")
