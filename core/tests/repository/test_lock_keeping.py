"""Locks are kept fresh, and nothing is written without one: on clocks set by hand and storages that fail."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import LockedError
from limpet.format.lockfile import decode_lockfile
from limpet.ids import StorageId
from limpet.storage.recording import WRITES, Operation
from limpet.testing.backend import handle_of

from core.tests.repository.locking import FAST, MINUTE_S, Setup, eventually


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
        eventually(lambda: any("unable to refresh the lock" in text for text in setup.told.texts))
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
        second.join(timeout=60)
        assert seen == [True]
        assert setup.repository.backend.load(handle_of(b"second")) == b"second"


def test_clock_set_back(setup: Setup) -> None:
    """A clock corrected by an hour backwards must not stop the refresh for an hour: others' clocks are right."""
    with setup.lock() as lock:
        before = lock.lock_id
        setup.clock.advance(-60 * MINUTE_S)
        eventually(lambda: lock.lock_id != before)
