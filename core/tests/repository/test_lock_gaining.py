"""Locks are gained by looking, writing and looking again, on clocks set by hand and storages that fail."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from limpet.contracts.backend import Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError, LockedError, MissingFileError, RepositoryError
from limpet.format.lockfile import decode_lockfile
from limpet.ids import StorageId
from limpet.repository.locks import RepositoryLock, remove_all_locks, remove_stale_locks
from limpet.repository.repository import Repository
from limpet.storage.recording import Operation, RecordingBackend
from limpet.testing.backend import content_of, handle_of

from core.tests.repository.locking import FAST, PASSWORD, Setup, eventually


def test_lock_file_says_who_we_are(setup: Setup) -> None:
    """Others show this to their users, and decide by it whether we are still alive."""
    with setup.lock(exclusive=True) as lock:
        assert lock.lock_id is not None
        assert setup.locks() == [lock.lock_id.hex()]
        stored = decode_lockfile(setup.repository.load_unpacked(FileKind.LOCK, lock.lock_id))
        assert (stored.exclusive, stored.hostname, stored.pid) == (True, socket.gethostname(), os.getpid())
        assert (stored.uid, stored.gid) == (os.getuid(), os.getgid())
        assert stored.username
        assert stored.time.ns == setup.clock.ns
    assert setup.locks() == []


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_exclusion(setup: Setup, first: bool, second: bool) -> None:
    """Prune beside a backup loses data; two backups must go on side by side."""
    with setup.lock(exclusive=first):
        if first or second:
            with pytest.raises(LockedError, match=f"PID {os.getpid()} on {socket.gethostname()}"):
                setup.lock(exclusive=second).__enter__()
            assert len(setup.locks()) == 1
        else:
            with setup.lock(exclusive=second):
                assert len(setup.locks()) == 2
    assert setup.locks() == []


def test_second_look(setup: Setup) -> None:
    """Two processes that lock in the same moment both see nothing at first: the second look finds the other.

    Until then the run may read; neither the write that waited for it nor the run itself passes for a success.
    """
    with setup.before_the_last_look():
        lock = setup.lock().__enter__()
        setup.others_lock(exclusive=True)
    with pytest.raises(LockedError, match="PID 1 on elsewhere by other"):
        setup.write()
    assert lock.lost
    with pytest.raises(LockedError, match="PID 1 on elsewhere by other"):
        lock.__exit__(None, None, None)
    assert len(setup.locks()) == 1
    assert not list(setup.store.list(FileKind.PACK))


def test_look_at_once_after_writing(setup: Setup) -> None:
    """A machine that slept between its look and its lock must not read what an exclusive run is about to remove.

    That run may have ended before the last look, and what was read before would be written into a snapshot after it.
    """

    class Slow(RecordingBackend):
        def save(self, handle: Handle, content: Content) -> None:
            setup.others_lock(exclusive=True)
            super().save(handle, content)

    repository = Repository.open(Slow(setup.store), PASSWORD)
    with pytest.raises(LockedError, match="PID 1 on elsewhere"):
        RepositoryLock(repository, exclusive=False, timing=replace(FAST, settle_s=60)).__enter__()
    assert len(setup.locks()) == 1


def test_last_look_that_breaks_down(setup: Setup) -> None:
    """A plugin's own error in the lock's thread must not let the writes pass that wait for the look."""

    class Broken(RecordingBackend):
        def list(self, kind: FileKind) -> Iterator[FileInfo]:
            if threading.current_thread() is not threading.main_thread():
                raise ZeroDivisionError("a plugin's mistake")
            return super().list(kind)

    repository = Repository.open(Broken(setup.store), PASSWORD)
    lock = RepositoryLock(repository, exclusive=False, timing=FAST).__enter__()
    with pytest.raises(BackendError, match="cannot create a lock: a plugin's mistake") as caught:
        repository.backend.save(handle_of(b"a pack"), content_of(b"a pack"))
    assert caught.value.permanent, "or the write is tried again for a quarter of an hour"
    with pytest.raises(BackendError, match="cannot create a lock"):
        lock.__exit__(None, None, None)
    assert setup.locks() == []


def test_release_does_not_wait_for_an_unreadable_lock(setup: Setup) -> None:
    """Ctrl-C must not take half a minute because another's upload broke off at this moment."""
    garbage = b"no lock at all" * 9
    started_s = time.monotonic()
    with setup.before_the_last_look():
        timing = replace(FAST, unreadable_pauses_s=(600.0,))
        lock = RepositoryLock(setup.repository, exclusive=False, timing=timing).__enter__()
        listings = setup.recording.count(Operation.LIST, FileKind.LOCK)
        setup.store.save(handle_of(garbage, FileKind.LOCK), content_of(garbage))
    eventually(lambda: setup.recording.count(Operation.LIST, FileKind.LOCK) > listings)
    lock.release()
    assert time.monotonic() - started_s < 300


def test_second_look_explains_an_error(setup: Setup) -> None:
    """A file that vanished under us is no damage if somebody was pruning: the lock must be named, not the file."""
    with setup.before_the_last_look():
        lock = setup.lock().__enter__()
        setup.others_lock(exclusive=True)
    error = MissingFileError("a pack is gone")
    with pytest.raises(LockedError, match="PID 1 on elsewhere by other") as caught:
        lock.__exit__(type(error), error, None)
    assert caught.value.__cause__ is error
    assert len(setup.locks()) == 1


def test_released_before_the_second_look(setup: Setup) -> None:
    """A short reading command must not wait for a look that tells nothing any more."""
    started_s = time.monotonic()
    with setup.lock(timing=replace(FAST, settle_s=600)):
        setup.others_lock(exclusive=True)
    assert time.monotonic() - started_s < 300
    assert len(setup.locks()) == 1


def test_second_look_before_waiting_for_others(setup: Setup) -> None:
    """Who waits for a lock waits again if another came first in that very moment."""
    others: list[StorageId] = []

    def lock_in_between(time_s: float) -> None:
        if time_s == FAST.settle_s and not others:
            others.append(setup.others_lock(exclusive=True))
        elif time_s == 5:
            setup.remove(others[0].hex())

    setup.clock.on_sleep = lock_in_between
    with setup.lock(retry_lock_s=60):
        assert setup.clock.slept == [FAST.settle_s, 5, FAST.settle_s]
        setup.write()


def test_retry_lock_waits(setup: Setup) -> None:
    """`--retry-lock 5m` lets the nightly backup wait for the prune before it."""
    other = setup.others_lock(exclusive=True)

    def pass_time(_: float) -> None:
        if len(setup.clock.slept) == 3:
            setup.remove(other.hex())

    setup.clock.on_sleep = pass_time
    with setup.lock(retry_lock_s=300):
        assert setup.clock.slept == [5, 10, 20, FAST.settle_s]
    assert setup.told.texts == ["repo already locked, waiting up to 5m0s for the lock"]


def test_retry_lock_ends(setup: Setup) -> None:
    """After the time that was given the run ends with exit code 11, after one last try."""
    setup.others_lock(exclusive=True)
    with pytest.raises(LockedError) as caught:
        setup.lock(retry_lock_s=130).__enter__()
    assert setup.clock.slept == [5, 10, 20, 40, 55]
    assert caught.value.exit_code == 11
    assert len(setup.locks()) == 1


def test_empty_lock_files_are_ignored(setup: Setup) -> None:
    """An upload that broke off must not lock everybody out (restic's rule)."""
    handle = Handle(FileKind.LOCK, "5" * 64)
    setup.store.save(handle, content_of(b""))
    with setup.lock(exclusive=True):
        assert len(setup.locks()) == 2
    assert remove_stale_locks(setup.repository) == 0
    assert remove_all_locks(setup.repository) == 1


def test_unreadable_lock_is_tried_again_and_then_told(setup: Setup) -> None:
    """A garbage lock may be another's that could not be read: ignoring it would be a gamble with the data."""
    garbage = b"no lock at all" * 9
    setup.store.save(handle_of(garbage, FileKind.LOCK), content_of(garbage))
    with pytest.raises(RepositoryError, match="unlock --remove-all"):
        setup.lock().__enter__()
    assert setup.clock.slept == [5, 10, 20]
    setup.clock.on_sleep = lambda _: setup.remove(*[name for name in setup.locks() if name in garbage_name])
    garbage_name = handle_of(garbage, FileKind.LOCK).name
    with setup.lock():
        assert garbage_name not in setup.locks()


def test_storage_that_fails_for_a_moment(setup: Setup) -> None:
    """Reading the locks is tried again before the run is given up."""
    setup.others_lock(exclusive=False)
    setup.recording.fail_after(0, times=2, operations=[Operation.LIST])
    with setup.lock():
        assert setup.clock.slept[:2] == [5, 10]
    setup.recording.fail_after(0, operations=[Operation.LIST])
    with pytest.raises(BackendError, match="cannot create a lock"):
        setup.lock().__enter__()


def test_read_only_storage(setup: Setup) -> None:
    """The message has to say that it was the lock that could not be written, for --no-lock helps then."""
    setup.recording.fail_after(0, operations=[Operation.SAVE], error=BackendError("read-only", permanent=True))
    with pytest.raises(BackendError, match="cannot create a lock: read-only") as caught:
        setup.lock().__enter__()
    assert caught.value.permanent


def test_lock_refreshed_by_its_owner_while_we_look(setup: Setup) -> None:
    """A lock that goes between listing and loading was perhaps replaced: the new one excludes us as well."""
    first = setup.others_lock(exclusive=True)

    class Refreshing(RecordingBackend):
        def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
            if handle.name == first.hex() and first.hex() in setup.locks():
                setup.remove(first.hex())
                setup.others_lock(exclusive=True)
            return super().load(handle, offset_bytes, length_bytes)

    repository = Repository.open(Refreshing(setup.store), PASSWORD)
    with pytest.raises(LockedError):
        RepositoryLock(repository, exclusive=False, sleep=setup.clock.sleep).__enter__()
    assert setup.clock.slept == []
