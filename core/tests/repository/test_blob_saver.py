"""Storing many blobs: packs of any size, runs that are given up, storages that fail in the middle."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, BackendProperties, Content, FileKind, Handle
from limpet.errors import BackendError, LimpetError
from limpet.format.kdf import KdfParameters
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.backup.reading import SealedChunks, seal_data
from limpet.repository.repository import Repository, RepositorySettings
from limpet.repository.saver import BlobSaver
from limpet.repository.workers import Workers, can_fork
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend

MIB = 1024 * 1024
FOLDER = Path(__file__).parent
CHEAP = KdfParameters(n=2, r=1, p=1, salt=bytes(64))


def new_repository(backend: Backend, version: int = 2) -> Repository:
    """An empty repository with packs of the smallest size."""
    settings = RepositorySettings(pack_size_bytes=4 * MIB)
    repository = Repository.create(backend, "secret", version=version, kdf=CHEAP, settings=settings)
    repository.load_index()
    return repository


class Outcomes:
    """What the tasks of a run came to."""

    def __init__(self) -> None:
        self.ids: list[BlobId] = []
        self.errors: list[BaseException] = []
        self.ended = threading.Semaphore(0)

    def done(self, sealed: SealedChunks | None, error: BaseException | None) -> None:
        """Given to `BlobSaver.submit`."""
        if sealed is not None:
            self.ids.extend(sealed.ids)
        elif error is not None:
            self.errors.append(error)
        self.ended.release()


class StuckBackend(MemoryBackend):
    """Its packs are not saved before `allowed` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.properties = BackendProperties(connections=1, atomic_replace=True)
        self.allowed = threading.Event()
        self.reached = threading.Event()

    def save(self, handle: Handle, content: Content) -> None:
        if handle.kind is FileKind.PACK:
            self.reached.set()
            assert self.allowed.wait(60)
        super().save(handle, content)


@pytest.mark.parametrize("version", [1, 2])
def test_a_tree_larger_than_any_pack_is_stored(version: int) -> None:
    """A folder of 100,000 files has a tree larger than a pack: without this it could not be backed up."""
    backend = MemoryBackend()
    repository = new_repository(backend, version)
    saver = BlobSaver(repository)
    small, huge = os.urandom(1000), os.urandom(30 * MIB)
    ids = [saver.save_tree(data) for data in (small, huge, small[:500])]
    saver.flush()
    saver.close()
    again = Repository.open(backend, "secret")
    again.load_index()
    assert [again.load_blob(BlobKind.TREE, one) for one in ids] == [small, huge, small[:500]]


def test_what_was_stored_is_indexed_when_the_run_is_given_up() -> None:
    """Packs on the storage that no index names are uploaded in vain: the next run would store them again."""
    backend = RecordingBackend(MemoryBackend())
    repository = new_repository(backend)
    saver = BlobSaver(repository)
    outcomes = Outcomes()
    for _ in range(4):
        saver.submit(seal_data, outcomes.done, [os.urandom(MIB) for _ in range(5)])
        assert outcomes.ended.acquire(timeout=60)
    saver.abandon()
    again = Repository.open(backend, "secret")
    again.load_index()
    stored = {info.name for info in again.list_files(FileKind.PACK)}
    assert stored
    assert {pack_id.hex() for pack_id in again.index.pack_ids()} == stored


def test_giving_up_tells_of_no_error_of_its_own() -> None:
    """The error that ended a backup must not be hidden by the next one: a disk that is full, an exit code of 130."""
    backend = RecordingBackend(MemoryBackend())
    repository = new_repository(backend)
    saver = BlobSaver(repository)
    outcomes = Outcomes()
    saver.submit(seal_data, outcomes.done, [os.urandom(MIB) for _ in range(5)])
    assert outcomes.ended.acquire(timeout=60)
    saver.save_tree(b"{}")
    backend.fail_after(1, operations=[Operation.SAVE], error=BackendError("disk full", permanent=True))
    with pytest.raises(BackendError, match="disk full"):
        saver.flush()
    saver.abandon()


def test_an_index_that_could_not_be_saved_is_tried_again() -> None:
    """A moment's failure while an index is written must not leave packs behind that nothing names."""
    backend = RecordingBackend(MemoryBackend())
    repository = new_repository(backend)
    saver = BlobSaver(repository)
    tree_id = saver.save_tree(b'{"nodes":[]}\n')
    backend.fail_after(1, times=1, operations=[Operation.SAVE])
    with pytest.raises(BackendError, match="on purpose"):
        saver.flush()
    saver.abandon()
    again = Repository.open(backend, "secret")
    again.load_index()
    assert again.index.contains(BlobKind.TREE, tree_id)


_GIVEN_UP = """
import os, threading
from test_blob_saver import MIB, Outcomes, StuckBackend, new_repository, seal_data
from limpet.repository.saver import BlobSaver
backend = StuckBackend()
saver = BlobSaver(new_repository(backend))
for _ in range(30):
    saver.submit(seal_data, Outcomes().done, [os.urandom(MIB) for _ in range(8)])
assert backend.reached.wait(60)
threading.Timer(1.0, backend.allowed.set).start()
saver.abandon()
print("given up")
"""


@pytest.mark.parametrize("threads", ["0", "1"])
def test_a_run_that_is_given_up_ends(threads: str) -> None:
    """Ctrl-C with a slow storage: workers that wait for a pack buffer must not hold the process, nor print traces."""
    done = subprocess.run(
        [sys.executable, "-c", _GIVEN_UP],
        env={**os.environ, "LIMPET_THREADS": threads},
        cwd=FOLDER,
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "given up\n", "")


@pytest.mark.skipif(not can_fork(), reason="worker processes need fork")
def test_a_worker_that_dies_ends_the_run() -> None:
    """A worker killed for want of memory while it waits for a buffer must end the backup, not stop it for ever."""
    backend = StuckBackend()
    saver = BlobSaver(new_repository(backend))
    outcomes = Outcomes()
    tasks = 20
    for _ in range(tasks):
        saver.submit(seal_data, outcomes.done, [os.urandom(MIB) for _ in range(8)])
    assert backend.reached.wait(60)
    time.sleep(1)  # by now all of them wait for a buffer, for none is given back
    for worker in multiprocessing.active_children():
        worker.kill()
    stored: list[BlobId] = []
    calling = threading.Thread(target=lambda: stored.append(saver.save_tree(b"{}")), daemon=True)
    calling.start()
    calling.join(30)
    backend.allowed.set()
    for _ in range(tasks):
        assert outcomes.ended.acquire(timeout=60)
    saver.abandon()
    assert stored
    assert any("a worker process died" in str(error) for error in outcomes.errors)


def _no_state() -> None:
    raise MemoryError


def test_workers_that_cannot_start_are_told() -> None:
    """Too little memory for the workers is one clear line, not a trace."""
    with pytest.raises(LimpetError, match="worker"):
        Workers(_no_state, 2)
