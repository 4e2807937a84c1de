"""Locks of processes that are interrupted and killed, and beside real restic."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from limpet.errors import LockedError
from limpet.repository.locks import RepositoryLock, remove_stale_locks
from limpet.repository.repository import Repository
from limpet.testing.restic import Restic
from limpet_backend_local import LocalBackend

from core.tests.repository.locking import PASSWORD, SLEEPER, eventually, lock_names, start_holder


def test_ctrl_c_leaves_no_lock(folder: Path) -> None:
    """Ctrl-C, hit again out of impatience, must not leave a lock that blocks the next prune."""
    holder = start_holder(folder, "exclusive")
    for _ in range(4):
        holder.send_signal(signal.SIGINT)
        time.sleep(0.01)
    holder.communicate(timeout=60)
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
    eventually(lambda: lock_names(folder))
    time.sleep(delay_s)
    holder.send_signal(signal.SIGINT)
    holder.wait(timeout=60)
    assert lock_names(folder) == []


def test_hangup_does_not_end_us(folder: Path) -> None:
    """restic's `unlock` sends SIGHUP to the holder of a lock, to see whether it lives."""
    holder = start_holder(folder, "shared")
    holder.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert holder.poll() is None
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=60)
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
        eventually(lambda: lock_names(folder))
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
        eventually(lambda: [name for name in lock_names(folder) if "tmp" not in name])
        prune.send_signal(signal.SIGSTOP)
        repository = Repository.open(LocalBackend.open(str(folder), {}), PASSWORD)
        with pytest.raises(LockedError, match=f"exclusively by PID {prune.pid}"):
            repository.lock().__enter__()
    finally:
        prune.kill()
        prune.communicate()
