"""Locks on memory and disk, on clocks set by hand, with storages that fail, and beside real restic."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError, LockedError, MissingFileError, RepositoryError
from limpet.format.kdf import KdfParameters
from limpet.format.lockfile import LockFile, decode_lockfile, encode_lockfile
from limpet.format.timestamps import NS_PER_S, Time
from limpet.ids import StorageId
from limpet.progress import SilentReporter
from limpet.repository.lock_files import is_stale, own_lock, process_exists
from limpet.repository.locks import LockTiming, RepositoryLock, remove_all_locks, remove_stale_locks
from limpet.repository.repository import Repository
from limpet.repository.shield import shielded
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import WRITES, Operation, RecordingBackend
from limpet.testing.backend import content_of, handle_of
from limpet.testing.restic import Restic
from limpet_backend_local import LocalBackend

PASSWORD = "lock and key"
CHEAP = KdfParameters(n=16, r=8, p=1, salt=bytes(64))
FAST = LockTiming(poll_s=0.002, settle_s=0.01)
MINUTE_S = 60.0


class Clock:
    """A wall clock that moves when told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.ns = time.time_ns()
        self.slept: list[float] = []
        self.on_sleep: Callable[[float], object] = lambda _: None

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, time_s: float) -> None:
        self.slept.append(time_s)
        self.advance(time_s)
        self.on_sleep(time_s)

    def advance(self, time_s: float) -> None:
        """Let this time pass at once, as in standby."""
        self.ns += int(time_s * NS_PER_S)


class Told(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, text: str) -> None:
        self.texts.append(text)

    def note(self, text: str, *, verbosity: int = 1) -> None:
        self.texts.append(text)


class Setup:
    """A repository on a recorded storage, and a clock for its locks."""

    def __init__(self, store: Backend) -> None:
        self.store = store
        self.recording = RecordingBackend(store)
        self.repository = Repository.create(self.recording, PASSWORD, kdf=CHEAP)
        self.clock = Clock()
        self.told = Told()

    def lock(self, *, exclusive: bool = False, retry_lock_s: float = 0.0, timing: LockTiming = FAST) -> RepositoryLock:
        """A lock on this clock, not yet gained."""
        return RepositoryLock(
            self.repository,
            exclusive=exclusive,
            retry_lock_s=retry_lock_s,
            reporter=self.told,
            now_ns=self.clock.now_ns,
            sleep=self.clock.sleep,
            timing=timing,
        )

    def locks(self) -> list[str]:
        """The lock files that are there."""
        return sorted(info.name for info in self.store.list(FileKind.LOCK))

    def others_lock(self, *, exclusive: bool, age_s: float = 0, host: str = "elsewhere", pid: int = 1) -> StorageId:
        """A lock that another process has."""
        lock = LockFile(Time(self.clock.ns - int(age_s * NS_PER_S)), exclusive, host, "other", pid, 7, 8)
        return self.repository.save_unpacked(FileKind.LOCK, encode_lockfile(lock))

    def remove(self, *names: str) -> None:
        """Remove lock files behind everybody's back."""
        for name in names:
            self.store.remove(Handle(FileKind.LOCK, name))

    def write(self, data: bytes = b"a pack") -> None:
        """A write by the run that holds the lock."""
        self.repository.backend.save(handle_of(data), content_of(data))


@pytest.fixture(params=["memory", "local"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    """On each of the two storages."""
    store = MemoryBackend() if request.param == "memory" else LocalBackend.open(str(tmp_path / "repository"), {})
    made = Setup(store)
    yield made
    made.recording.heal()
    made.repository.close()


def eventually(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for what another thread or process is about to do."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


# -- gaining


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


SLOW = LockTiming(poll_s=0.002, settle_s=0.3)


def test_second_look(setup: Setup) -> None:
    """Two processes that lock in the same moment both see nothing at first: the second look finds the other.

    Until then the run may read; neither the write that waited for it nor the run itself passes for a success.
    """
    lock = setup.lock(timing=SLOW).__enter__()
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
        is_broken = False

        def list(self, kind: FileKind) -> Iterator[FileInfo]:
            if self.is_broken:
                raise ZeroDivisionError("a plugin's mistake")
            return super().list(kind)

    store = Broken(setup.store)
    repository = Repository.open(store, PASSWORD)
    lock = RepositoryLock(repository, exclusive=False, timing=SLOW).__enter__()
    store.is_broken = True
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
    lock = RepositoryLock(setup.repository, exclusive=False, timing=replace(SLOW, settle_s=0.05)).__enter__()
    listings = setup.recording.count(Operation.LIST, FileKind.LOCK)
    setup.store.save(handle_of(garbage, FileKind.LOCK), content_of(garbage))
    eventually(lambda: setup.recording.count(Operation.LIST, FileKind.LOCK) > listings)
    lock.release()
    assert time.monotonic() - started_s < 30


def test_second_look_explains_an_error(setup: Setup) -> None:
    """A file that vanished under us is no damage if somebody was pruning: the lock must be named, not the file."""
    lock = setup.lock(timing=SLOW).__enter__()
    setup.others_lock(exclusive=True)
    error = MissingFileError("a pack is gone")
    with pytest.raises(LockedError, match="PID 1 on elsewhere by other") as caught:
        lock.__exit__(type(error), error, None)
    assert caught.value.__cause__ is error
    assert len(setup.locks()) == 1


def test_released_before_the_second_look(setup: Setup) -> None:
    """A short reading command must not wait for a look that tells nothing any more."""
    started_s = time.monotonic()
    with setup.lock(timing=replace(SLOW, settle_s=60)):
        setup.others_lock(exclusive=True)
    assert time.monotonic() - started_s < 30
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


# -- keeping


def test_refreshed_every_five_minutes(setup: Setup) -> None:
    """Without refresh every backup longer than half an hour is taken for dead."""
    with setup.lock() as lock:
        seen = [lock.lock_id]
        for _ in range(3):
            setup.clock.advance(4.9 * MINUTE_S)
            time.sleep(0.02)
            assert lock.lock_id == seen[-1]
            setup.clock.advance(0.2 * MINUTE_S)
            eventually(lambda: lock.lock_id != seen[-1])
            seen.append(lock.lock_id)
            eventually(lambda: len(setup.locks()) == 1)
        stored = decode_lockfile(setup.repository.load_unpacked(FileKind.LOCK, lock.lock_id or StorageId(b"")))
        assert stored.time.ns == setup.clock.ns
        setup.write()
    assert setup.locks() == []


def test_new_lock_is_written_before_the_old_one_goes(setup: Setup) -> None:
    """In between there would be no lock at all, and a prune could begin."""
    with setup.lock():
        setup.recording.calls.clear()
        setup.clock.advance(5 * MINUTE_S)
        eventually(lambda: setup.recording.removed(FileKind.LOCK))
    writes = [call.operation for call in setup.recording.calls if call.operation in WRITES]
    assert writes[:2] == [Operation.SAVE, Operation.REMOVE]


def test_refresh_is_tried_again(setup: Setup) -> None:
    """A storage away for 20 minutes must not end a backup: the lock is good for 22.5 minutes."""
    with setup.lock() as lock:
        setup.write(b"not before the second look")
        setup.recording.fail_after(0)
        before = lock.lock_id
        for _ in range(20):
            setup.clock.advance(MINUTE_S)
            time.sleep(0.004)
        assert any("unable to refresh the lock" in text for text in setup.told.texts)
        setup.recording.heal()
        setup.clock.advance(1.5 * MINUTE_S)
        eventually(lambda: lock.lock_id != before)
        setup.write()
        assert lock.lost is None


def test_old_lock_that_cannot_be_removed(setup: Setup) -> None:
    """The new lock counts although the old one stays, or the release removes the wrong one (restic issue 2452)."""
    with setup.lock() as lock:
        before = lock.lock_id
        assert before is not None
        setup.recording.fail_after(0, times=1, operations=[Operation.REMOVE])
        setup.clock.advance(5 * MINUTE_S)
        eventually(lambda: lock.lock_id != before)
        eventually(lambda: any("unable to remove the lock" in text for text in setup.told.texts))
        assert lock.lost is None
        setup.write()
    assert setup.locks() == [before.hex()]


def test_lost_answer_of_the_removal(setup: Setup) -> None:
    """The old lock's removal worked and its answer was lost: the run goes on with the new lock."""
    with setup.lock() as lock:
        before = lock.lock_id
        setup.recording.lose_answer_after(0, operations=[Operation.REMOVE])
        setup.clock.advance(5 * MINUTE_S)
        eventually(lambda: lock.lock_id != before)
        setup.write()
    assert setup.locks() == []


def test_standby_of_forty_minutes_with_the_lock_still_there(setup: Setup) -> None:
    """A laptop that wakes up goes on, if nobody took the lock meanwhile: proved before the first write passes."""
    with setup.lock(exclusive=True, timing=replace(FAST, poll_s=1000)) as lock:
        before = lock.lock_id
        setup.recording.calls.clear()
        setup.clock.advance(40 * MINUTE_S)
        setup.write()
        assert lock.lock_id != before
        saves = [call.kind for call in setup.recording.calls if call.operation is Operation.SAVE]
        assert saves == [FileKind.LOCK, FileKind.PACK]
    assert setup.locks() == []


@pytest.mark.parametrize("poll_s", [0.002, 1000])
def test_standby_with_the_lock_removed(setup: Setup, poll_s: float) -> None:
    """Somebody ran `unlock` and prune while we slept: no write may follow, whichever thread finds out first."""
    with setup.lock(timing=replace(FAST, poll_s=poll_s)) as lock:
        setup.remove(*setup.locks())
        setup.clock.advance(40 * MINUTE_S)
        before = setup.recording.saved(FileKind.PACK)
        for _ in range(2):
            with pytest.raises(LockedError, match="removed in the meantime"):
                setup.write()
        with pytest.raises(LockedError):
            setup.repository.backend.remove(handle_of(b"any"))
        assert setup.recording.saved(FileKind.PACK) == before
        assert lock.lost is not None
    assert setup.locks() == []


def test_lock_removed_in_mid_run(setup: Setup) -> None:
    """`unlock --remove-all` beside a living run is noticed at the next refresh, long before 30 minutes are over."""
    with setup.lock() as lock:
        setup.remove(*setup.locks())
        setup.clock.advance(5 * MINUTE_S)
        eventually(lambda: lock.lost)
        with pytest.raises(LockedError):
            setup.write()
        assert any("was lost" in text for text in setup.told.texts)
    assert setup.locks() == []


@pytest.mark.parametrize("kind", [FileKind.INDEX, FileKind.SNAPSHOT])
def test_lock_removed_before_a_file_that_makes_packs_count(setup: Setup, kind: FileKind) -> None:
    """After `unlock --remove-all` and `prune` no snapshot may be saved of packs that prune has removed."""
    with setup.lock() as lock:
        setup.repository.save_unpacked(kind, b"{}")
        setup.remove(*setup.locks())
        with pytest.raises(LockedError, match="was lost"):
            setup.repository.save_unpacked(kind, b"{}")
        assert lock.lost


def test_lock_removed_between_the_two_looks(setup: Setup) -> None:
    """While we prove our old lock another may just be removing it as stale: the look after the wait sees that."""
    with setup.lock(timing=replace(FAST, poll_s=1000)) as lock:
        old = lock.lock_id
        assert old is not None
        setup.clock.advance(40 * MINUTE_S)
        setup.clock.on_sleep = lambda _: setup.remove(old.hex())
        with pytest.raises(LockedError):
            setup.write()
        assert setup.locks() == []


def test_refresh_impossible_for_too_long(setup: Setup) -> None:
    """From 22.5 minutes on others may take us for dead soon: without a proof nothing is written any more."""
    with setup.lock() as lock:
        setup.write(b"not before the second look")
        setup.recording.fail_after(0)
        setup.clock.advance(23 * MINUTE_S)
        eventually(lambda: lock.lost)
        setup.recording.heal()
        with pytest.raises(LockedError):
            setup.write()
    assert setup.locks() == []


def test_writes_wait_while_the_lock_is_proved(setup: Setup) -> None:
    """A write that slips through in these 200 ms may hit a repository that is being pruned."""
    with setup.lock(timing=replace(FAST, poll_s=1000)):
        setup.clock.advance(25 * MINUTE_S)
        seen: list[bool] = []
        second = threading.Thread(target=setup.write, args=(b"second",))

        def while_settling(_: float) -> None:
            second.start()
            second.join(timeout=0.1)
            seen.append(second.is_alive())

        setup.clock.on_sleep = while_settling
        setup.write(b"first")
        second.join(timeout=10)
        assert seen == [True]
        assert setup.repository.backend.load(handle_of(b"second")) == b"second"


def test_clock_set_back(setup: Setup) -> None:
    """A clock corrected by an hour backwards must not stop the refresh for an hour: others' clocks are right."""
    with setup.lock() as lock:
        before = lock.lock_id
        setup.clock.advance(-60 * MINUTE_S)
        eventually(lambda: lock.lock_id != before)


# -- stale locks


@pytest.mark.parametrize(
    ("age_s", "host", "pid", "stale"),
    [
        (31 * MINUTE_S, "elsewhere", 1, True),
        (29 * MINUTE_S, "elsewhere", 1, False),
        (0, "here", 1, False),
        (31 * MINUTE_S, "here", 1, True),
        (0, "here", 0, True),
        (0, "elsewhere", 0, False),
        (-90 * MINUTE_S, "elsewhere", 1, False),
    ],
)
def test_stale(setup: Setup, age_s: float, host: str, pid: int, stale: bool) -> None:
    """`unlock` that removes a living lock costs data; one that keeps dead ones costs backups."""
    host = socket.gethostname() if host == "here" else host
    lock_id = setup.others_lock(exclusive=True, age_s=age_s, host=host, pid=pid)
    removed = remove_stale_locks(setup.repository, now_ns=setup.clock.now_ns)
    assert removed == int(stale)
    assert (lock_id.hex() in setup.locks()) is not stale


def test_process_that_ended(setup: Setup) -> None:
    """A crashed backup's lock on the same host is stale at once."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    setup.others_lock(exclusive=True, host=socket.gethostname(), pid=child.pid)
    assert process_exists(child.pid)
    assert remove_stale_locks(setup.repository) == 0
    child.communicate(b"\n")
    assert not process_exists(child.pid)
    assert remove_stale_locks(setup.repository) == 1
    assert not process_exists(2**70)


def test_own_lock_is_not_stale(setup: Setup) -> None:
    """`unlock` beside a running backup of ours must leave it alone."""
    assert not is_stale(own_lock(True, setup.clock.ns), setup.clock.ns)
    with setup.lock() as lock:
        setup.others_lock(exclusive=False, age_s=3600)
        assert remove_stale_locks(setup.repository, now_ns=setup.clock.now_ns) == 1
        assert lock.lock_id is not None
        assert setup.locks() == [lock.lock_id.hex()]


def test_stale_lock_still_excludes(setup: Setup) -> None:
    """As in restic a stale lock is removed by `unlock` alone; the error says so."""
    setup.others_lock(exclusive=True, age_s=3600)
    with pytest.raises(LockedError, match="`unlock` command can be used to remove stale locks"):
        setup.lock().__enter__()
    remove_stale_locks(setup.repository)
    with setup.lock():
        pass


def test_remove_all(setup: Setup) -> None:
    """`unlock --remove-all` removes what it cannot read as well."""
    setup.others_lock(exclusive=True)
    for data in (b"", b"garbage"):
        setup.store.save(handle_of(data, FileKind.LOCK), content_of(data))
    assert remove_stale_locks(setup.repository) == 0
    assert remove_all_locks(setup.repository) == 3
    assert setup.locks() == []


# -- releasing


def test_released_after_an_error(setup: Setup) -> None:
    """A run that fails must not lock out the next one."""
    with pytest.raises(ZeroDivisionError), setup.lock(exclusive=True):
        raise ZeroDivisionError
    assert setup.locks() == []


def test_release_is_idempotent(setup: Setup) -> None:
    """Released early and again at the end of the context."""
    with setup.lock() as lock:
        lock.release()
        assert setup.locks() == []
        lock.release()


def test_interrupt_while_an_error_waits_for_the_last_look(setup: Setup) -> None:
    """Ctrl-C in these moments must not leave a lock behind."""
    lock = setup.lock(timing=replace(SLOW, settle_s=60)).__enter__()
    error = MissingFileError("a pack is gone")
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        lock.__exit__(MissingFileError, error, None)
    assert setup.locks() == []


def test_closing_releases(setup: Setup) -> None:
    """An interrupt just before the with block, or within its end, skips the release; closing must not."""
    repository = Repository.open(setup.store, PASSWORD)
    repository.lock().__enter__()
    assert len(setup.locks()) == 1
    repository.close()
    assert setup.locks() == []


def test_storage_that_does_not_answer_to_the_release(setup: Setup) -> None:
    """The work is done and stored: a lock that cannot be removed is a warning."""
    with setup.lock():
        setup.recording.fail_after(0, operations=[Operation.REMOVE])
    assert any("unable to remove the lock" in text for text in setup.told.texts)


def test_no_threads_left(setup: Setup) -> None:
    """A library that leaves a thread behind with every lock fills up its program."""
    before = threading.active_count()
    for _ in range(3):
        with setup.lock():
            pass
    assert threading.active_count() == before


def test_child_process_does_not_release(setup: Setup) -> None:
    """A forked worker that ends with an error must not remove its parent's lock."""
    with setup.lock() as lock:
        child = os.fork()
        if child == 0:
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert len(setup.locks()) == 1


SLEEPER = """
import sys, time
from limpet_backend_local import LocalBackend
from limpet.repository.repository import Repository
repository = Repository.open(LocalBackend.open(sys.argv[1], {}), sys.argv[2])
with repository.lock(exclusive=sys.argv[3] == "exclusive"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository in a folder."""
    path = tmp_path / "repository"
    Repository.create(LocalBackend.open(str(path), {}), PASSWORD, kdf=CHEAP).close()
    return path


def start_holder(folder: Path, kind: str) -> subprocess.Popen[bytes]:
    """A process of ours that holds a lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(folder), PASSWORD, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    return holder


def lock_names(folder: Path) -> list[str]:
    """The lock files in the folder, complete ones."""
    return [path.name for path in (folder / "locks").iterdir() if "-tmp-" not in path.name]


def test_ctrl_c_leaves_no_lock(folder: Path) -> None:
    """Ctrl-C, hit again out of impatience, must not leave a lock that blocks the next prune."""
    holder = start_holder(folder, "exclusive")
    for _ in range(4):
        holder.send_signal(signal.SIGINT)
        time.sleep(0.01)
    holder.communicate(timeout=20)
    assert holder.returncode != 0
    assert lock_names(folder) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25])
def test_ctrl_c_while_gaining(folder: Path, delay_s: float) -> None:
    """An interrupt between writing the lock file and knowing its name must not leave it there."""
    holder = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(folder), PASSWORD, "shared"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: lock_names(folder), timeout_s=30)
    time.sleep(delay_s)
    holder.send_signal(signal.SIGINT)
    holder.wait(timeout=20)
    assert lock_names(folder) == []


def test_hangup_does_not_end_us(folder: Path) -> None:
    """restic's `unlock` sends SIGHUP to the holder of a lock, to see whether it lives."""
    holder = start_holder(folder, "shared")
    holder.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert holder.poll() is None
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=20)
    assert lock_names(folder) == []


def test_killed_process_leaves_a_stale_lock(folder: Path) -> None:
    """After SIGKILL `unlock` must set things right."""
    holder = start_holder(folder, "exclusive")
    holder.kill()
    holder.communicate()
    repository = Repository.open(LocalBackend.open(str(folder), {}), PASSWORD)
    with pytest.raises(LockedError, match="looks stale"):
        repository.lock().__enter__()
    assert remove_stale_locks(repository) == 1
    with repository.lock(exclusive=True):
        pass


def test_shielded_work_is_finished() -> None:
    """The interrupt comes when the work is done, and is not forgotten; errors come through."""
    done = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        shielded(work)
    assert done == [True]

    def fail() -> None:
        raise BackendError("the work's own")

    with pytest.raises(BackendError, match="the work's own"):
        shielded(fail)


def test_shielded_work_that_hangs() -> None:
    """A storage that does not answer must not hold the user for ever."""
    release = threading.Event()
    assert shielded(lambda: None)
    assert not shielded(release.wait, limit_s=0.1)

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        release.wait()

    with pytest.raises(KeyboardInterrupt):
        shielded(work, grace_s=0.1)
    release.set()


# -- beside restic


@pytest.mark.interop
def test_restic_reads_our_lock(folder: Path, restic_any: Restic) -> None:
    """A lock that restic cannot read keeps it out for good."""
    with Repository.open(LocalBackend.open(str(folder), {}), PASSWORD).lock() as lock:
        assert isinstance(lock, RepositoryLock)
        assert lock.lock_id is not None
        shown = restic_any.cat("lock", lock.lock_id.hex(), repo=folder, password=PASSWORD).decode()
        assert f'"pid": {os.getpid()}' in shown
        assert f'"hostname": "{socket.gethostname()}"' in shown


@pytest.mark.interop
def test_restic_honours_our_locks(folder: Path, tmp_path: Path, restic_any: Restic) -> None:
    """restic beside a prune of ours loses data; beside a backup of ours it must only not prune."""
    (tmp_path / "file").write_bytes(b"content")
    repository = Repository.open(LocalBackend.open(str(folder), {}), PASSWORD)
    with repository.lock(exclusive=True):
        refused = restic_any.run("backup", tmp_path / "file", repo=folder, password=PASSWORD, check=False)
        assert refused.returncode != 0
        assert b"already locked exclusively by PID %d" % os.getpid() in refused.stderr
    with repository.lock():
        restic_any.run("backup", tmp_path / "file", repo=folder, password=PASSWORD)
        refused = restic_any.run("prune", repo=folder, password=PASSWORD, check=False)
        assert refused.returncode != 0
        assert b"already locked by PID %d" % os.getpid() in refused.stderr
    restic_any.run("prune", repo=folder, password=PASSWORD)


@pytest.mark.interop
def test_restic_unlock_leaves_a_living_lock_and_removes_a_dead_one(folder: Path, restic_any: Restic) -> None:
    """restic finds out by signal and host name whether our process lives; it must come to the right answer."""
    holder = start_holder(folder, "exclusive")
    restic_any.run("unlock", repo=folder, password=PASSWORD)
    assert len(lock_names(folder)) == 1
    assert holder.poll() is None
    holder.kill()
    holder.communicate()
    restic_any.run("unlock", repo=folder, password=PASSWORD)
    assert lock_names(folder) == []


@pytest.mark.interop
def test_we_honour_locks_of_restic(folder: Path, restic_any: Restic) -> None:
    """The other way round: its backup keeps our prune out, and its lock is stale when it was killed."""
    backup = subprocess.Popen(
        [restic_any.binary, "--no-cache", "backup", "--stdin"],
        env={"RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD, "HOME": str(folder.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    repository = Repository.open(LocalBackend.open(str(folder), {}), PASSWORD)
    try:
        eventually(lambda: lock_names(folder), timeout_s=30)
        with repository.lock():
            pass
        with pytest.raises(LockedError, match=f"PID {backup.pid} on"):
            repository.lock(exclusive=True).__enter__()
        assert remove_stale_locks(repository) == 0
    finally:
        backup.kill()
        backup.communicate()
    assert len(lock_names(folder)) == 1
    assert remove_stale_locks(repository) == 1


@pytest.mark.interop
def test_we_honour_exclusive_locks_of_restic(folder: Path, restic_any: Restic) -> None:
    """A prune of restic's, stopped in its tracks, keeps every backup of ours out."""
    prune = subprocess.Popen(
        [restic_any.binary, "--no-cache", "prune"],
        env={"RESTIC_REPOSITORY": str(folder), "RESTIC_PASSWORD": PASSWORD, "HOME": str(folder.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: [name for name in lock_names(folder) if "tmp" not in name], timeout_s=30)
        prune.send_signal(signal.SIGSTOP)
        repository = Repository.open(LocalBackend.open(str(folder), {}), PASSWORD)
        with pytest.raises(LockedError, match=f"exclusively by PID {prune.pid}"):
            repository.lock().__enter__()
    finally:
        prune.kill()
        prune.communicate()
