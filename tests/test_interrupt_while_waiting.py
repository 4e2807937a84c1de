"""Ctrl-C while the storage is away: the run ends in seconds, not when the retries do."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from limpet.contracts.backend import FileKind
from limpet.contracts.source import SourceRequest
from limpet.format.kdf import KdfParameters
from limpet.operations.backup.options import BackupOptions
from limpet.operations.backup.run import backup
from limpet.operations.retention import remove_snapshots
from limpet.repository.repository import Repository
from limpet.repository.snapshots import load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet.storage.retry import RetryBackend
from limpet_source_files import FilesSource

pytestmark = pytest.mark.timeout(100)  # less than a pause of these retries
CHEAP = KdfParameters(n=16, r=8, p=1, salt=bytes(64))


def test_ctrl_c_while_a_pack_is_tried_again(tmp_path: Path) -> None:
    """A person who gives up on a dead network connection must not wait for its retries; nor may the lock stay."""
    (tmp_path / "file").write_bytes(os.urandom(100_000))
    memory = MemoryBackend()
    recording = RecordingBackend(memory)
    repository = Repository.create(RetryBackend(recording, first_pause_s=300), "password", kdf=CHEAP)
    source = FilesSource.open(SourceRequest(targets=[str(tmp_path / "file")]))
    options = BackupOptions(hostname="host", time_ns=time.time_ns())

    def interrupt_when_it_hangs() -> None:
        deadline = time.monotonic() + 30
        while not recording.saved(FileKind.PACK) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    with repository.lock():
        recording.fail_after(0, operations=[Operation.SAVE])
        threading.Thread(target=interrupt_when_it_hangs, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            backup(repository, [source], options)
    assert recording.saved(FileKind.PACK)
    assert list(memory.list(FileKind.LOCK)) == []
    assert list(memory.list(FileKind.SNAPSHOT)) == []


@pytest.mark.parametrize("operation", [Operation.LOAD, Operation.REMOVE])
def test_ctrl_c_while_snapshots_are_tried_again(operation: Operation) -> None:
    """Every command begins with the snapshots, and `forget` ends with them: none may hold the user for minutes."""
    recording = RecordingBackend(MemoryBackend())
    repository = Repository.create(RetryBackend(recording, first_pause_s=300), "password", kdf=CHEAP)
    ids = [repository.save_unpacked(FileKind.SNAPSHOT, b"%d" % number) for number in range(100)]
    work: dict[Operation, Callable[[], object]] = {
        Operation.LOAD: lambda: load_snapshots(repository),
        Operation.REMOVE: lambda: remove_snapshots(repository, ids),
    }
    with repository.lock(exclusive=True):
        recording.fail_after(0, operations=[operation])
        timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            work[operation]()
    assert recording.count(operation, FileKind.SNAPSHOT) < len(ids) / 2
