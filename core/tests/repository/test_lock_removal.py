"""Locks end: ours with its run, those of the dead by `unlock`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from traceback import walk_stack

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import LockedError, MissingFileError
from limpet.repository.lock_files import is_stale, own_lock, process_exists
from limpet.repository.locks import RepositoryLock, remove_all_locks, remove_stale_locks
from limpet.repository.repository import Repository
from limpet.storage.recording import Operation
from limpet.testing.backend import content_of, handle_of

from core.tests.repository.locking import FAST, MINUTE_S, PASSWORD, Setup, eventually


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
    lock = setup.lock(timing=replace(FAST, settle_s=600)).__enter__()
    error = MissingFileError("a pack is gone")
    main = threading.main_thread().ident or 0
    waiting = {RepositoryLock.__exit__.__code__, threading.Event.wait.__code__}

    def interrupt_the_wait() -> None:
        eventually(lambda: waiting <= {frame.f_code for frame, _ in walk_stack(sys._current_frames()[main])})
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_the_wait).start()
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
    for _ in range(3):
        with setup.lock():
            pass
    eventually(lambda: "limpet-lock" not in [thread.name for thread in threading.enumerate()])


def test_child_process_does_not_release(setup: Setup) -> None:
    """A forked worker that ends with an error must not remove its parent's lock."""
    with setup.lock() as lock:
        child = os.fork()
        if child == 0:
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        assert len(setup.locks()) == 1
