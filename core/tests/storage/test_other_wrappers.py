"""Dry run, recording with its crash points, and the freeze that protects a lost lock."""

from __future__ import annotations

import threading

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, BackendProperties, FileKind
from limpet.errors import BackendError, LockedError
from limpet.storage.dryrun import DryRunBackend
from limpet.storage.freeze import FreezeBackend, find_freezer
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Call, CrashError, Operation, RecordingBackend
from limpet.storage.retry import RetryBackend
from limpet.testing.backend import content_of, handle_of, save_all


def test_dry_run_writes_nothing() -> None:
    """`--dry-run` that changes the repository is the one promise broken."""
    memory = MemoryBackend()
    (handle,) = save_all(memory, FileKind.SNAPSHOT, [b"a snapshot"])
    before = dict(memory.files)
    backend = DryRunBackend(memory)
    backend.create()
    save_all(backend, FileKind.PACK, [b"one", b"three"])
    backend.remove(handle)
    backend.delete()
    assert memory.files == before
    assert backend.load(handle) == b"a snapshot"
    assert (backend.saved[FileKind.PACK].files, backend.saved[FileKind.PACK].size_bytes) == (2, 8)
    assert backend.removed[FileKind.SNAPSHOT] == 1
    assert backend.sweep() == 0


def test_properties_that_are_known_late() -> None:
    """Whether an SFTP server replaces files shows when it is reached: a stale yes makes an upgrade fail."""
    memory = MemoryBackend(atomic_replace=True)
    backend = RetryBackend(FreezeBackend(memory))
    memory.properties = BackendProperties(atomic_replace=False)
    assert not backend.properties.atomic_replace


def test_recording_tells_the_exact_calls() -> None:
    """Tests assert the traffic by this: a forgotten call hides a request that costs money."""
    backend = RecordingBackend(MemoryBackend())
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    backend.load(handle, 2, 4)
    backend.load_into(handle, 0, memoryview(bytearray(3)))
    backend.stat(handle)
    list(backend.list(FileKind.PACK))
    backend.remove(handle)
    assert backend.calls == [
        Call(Operation.SAVE, FileKind.PACK, handle.name, 0, 6),
        Call(Operation.LOAD, FileKind.PACK, handle.name, 2, 4),
        Call(Operation.LOAD, FileKind.PACK, handle.name, 0, 3),
        Call(Operation.STAT, FileKind.PACK, handle.name),
        Call(Operation.LIST, FileKind.PACK),
        Call(Operation.REMOVE, FileKind.PACK, handle.name),
    ]
    assert (backend.saved(), backend.loaded(FileKind.PACK), backend.removed(FileKind.INDEX)) == (1, 2, 0)


def test_crash_reaches_every_point() -> None:
    """After the crash nothing may reach the store, not even the clean-up of the code under test."""
    contents = [b"%d" % number for number in range(5)]
    for point in range(6):
        memory = MemoryBackend()
        backend = RecordingBackend(memory)
        backend.stop_after(point)
        if point == 5:
            save_all(backend, FileKind.PACK, contents)
        else:
            with pytest.raises(CrashError):
                save_all(backend, FileKind.PACK, contents)
            with pytest.raises(CrashError):
                backend.remove(handle_of(contents[0]))
            with pytest.raises(CrashError):
                backend.stat(CONFIG_HANDLE)
        assert len(memory.files) == point
        backend.heal()
        save_all(backend, FileKind.PACK, contents)


def test_failures_on_purpose() -> None:
    """The failing calls are the chosen ones, as many as chosen."""
    memory = MemoryBackend()
    backend = RecordingBackend(memory)
    backend.fail_after(1, times=2, operations=[Operation.SAVE])
    outcomes = []
    for number in range(5):
        data = b"%d" % number
        try:
            backend.save(handle_of(data), content_of(data))
            outcomes.append("saved")
        except BackendError as error:
            outcomes.append("permanent" if error.permanent else "transient")
    assert outcomes == ["saved", "transient", "transient", "saved", "saved"]
    backend.lose_answer_after(0)
    with pytest.raises(BackendError, match="answer was lost"):
        backend.remove(handle_of(b"0"))
    assert handle_of(b"0") not in memory.files


def test_frozen_writes_wait() -> None:
    """While it is not certain that the lock stands, no write may pass; it goes on when it does stand."""
    memory = MemoryBackend()
    backend = FreezeBackend(memory)
    backend.freeze()
    started = threading.Event()

    def work() -> None:
        started.set()
        save_all(backend, FileKind.PACK, [b"a pack"])

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    thread.join(timeout=0.1)
    assert thread.is_alive()
    assert memory.files == {}
    save_all(backend, FileKind.LOCK, [b"a lock"])
    assert backend.load(handle_of(b"a lock", FileKind.LOCK)) == b"a lock"
    backend.thaw()
    thread.join(timeout=60)
    assert handle_of(b"a pack") in memory.files


def test_stopped_writes_fail_for_good() -> None:
    """A lost lock: waiting and later writes end in LockedError, our own lock files can still be removed."""
    memory = MemoryBackend()
    save_all(memory, FileKind.LOCK, [b"a lock"])
    save_all(memory, FileKind.PACK, [b"old"])
    backend = FreezeBackend(memory)
    backend.freeze()
    errors: list[LockedError] = []

    def work() -> None:
        try:
            backend.remove(handle_of(b"old"))
        except LockedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    backend.stop("the lock is gone")
    thread.join(timeout=60)
    assert [str(error) for error in errors] == ["the lock is gone"]
    backend.thaw()
    for write in (
        lambda: save_all(backend, FileKind.PACK, [b"new"]),
        lambda: backend.remove(handle_of(b"old")),
        backend.delete,
        backend.create,
    ):
        with pytest.raises(LockedError):
            write()
    assert backend.load(handle_of(b"old")) == b"old"
    backend.remove(handle_of(b"a lock", FileKind.LOCK))
    assert set(memory.files) == {handle_of(b"old")}


def test_guard_sees_every_write_first() -> None:
    """After standby the very first write must be checked, not the first after a timer has run."""
    backend = FreezeBackend(MemoryBackend())
    save_all(backend, FileKind.PACK, [b"before"])

    kinds: list[FileKind | None] = []

    def guard(kind: FileKind | None) -> None:
        kinds.append(kind)
        backend.stop("too old")

    backend.add_guard(guard)
    with pytest.raises(LockedError, match="too old"):
        save_all(backend, FileKind.PACK, [b"after"])
    assert kinds == [FileKind.PACK]


def test_confirm_asks_every_guard_now() -> None:
    """Right before packs are removed the lock is looked up once more, whatever was found before."""
    backend = FreezeBackend(MemoryBackend())
    backend.confirm()
    kinds: list[FileKind | None] = []
    backend.add_guard(kinds.append)
    backend.confirm()
    assert kinds == [FileKind.INDEX]  # as before a write that others will rely on
    assert backend.sweep() == 0
    backend.stop("lost")
    for forbidden in (backend.confirm, backend.sweep):
        with pytest.raises(LockedError, match="lost"):
            forbidden()


def test_freeze_inside_retry_stops_a_write_that_is_tried_again() -> None:
    """A removal that is retried for minutes must not succeed after the lock was lost."""
    recording = RecordingBackend(MemoryBackend())
    (handle,) = save_all(recording, FileKind.PACK, [b"a pack"])
    recording.fail_after(0, operations=[Operation.REMOVE])
    freezer = FreezeBackend(recording)
    backend = RetryBackend(freezer, pause=lambda _: freezer.stop("lost"))
    assert find_freezer(backend) is freezer
    assert find_freezer(recording) is None
    with pytest.raises(LockedError):
        backend.remove(handle)
    assert recording.removed() == 1
