"""The lock files in a repository: reading them, telling stale ones, removing them."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from limpet.contracts.backend import Backend, FileKind
from limpet.errors import BackendError, IntegrityError, MissingFileError
from limpet.format.lockfile import LockFile, decode_lockfile
from limpet.format.timestamps import NS_PER_S, Time, format_time, go_duration
from limpet.ids import StorageId, parse_storage_id, short
from limpet.repository.keys import current_user

STALE_AFTER_S = 30 * 60.0


class LockableRepository(Protocol):
    """What locking needs of a repository."""

    @property
    def backend(self) -> Backend:
        """Where the lock files are listed."""

    def save_unpacked(self, kind: FileKind, json: bytes) -> StorageId:
        """Seal and store a file; its id."""

    def load_unpacked(self, kind: FileKind, file_id: StorageId) -> bytes:
        """The JSON of a stored file."""

    def remove_unpacked(self, kind: FileKind, file_id: StorageId) -> None:
        """Remove a stored file."""


def own_lock(exclusive: bool, now_ns: int) -> LockFile:
    """The lock of this process as of now."""
    uid, gid = (os.getuid(), os.getgid()) if sys.platform != "win32" else (0, 0)
    return LockFile(
        time=Time(now_ns),
        exclusive=exclusive,
        hostname=socket.gethostname(),
        username=current_user(),
        pid=os.getpid(),
        uid=uid,
        gid=gid,
    )


def lock_ids(repository: LockableRepository) -> list[StorageId]:
    """The locks that are there now, without empty files: those are uploads that broke off (restic's rule)."""
    return [parse_storage_id(info.name) for info in repository.backend.list(FileKind.LOCK) if info.size_bytes > 0]


def load_lock(repository: LockableRepository, lock_id: StorageId) -> LockFile:
    """The lock; MissingFileError if it went meanwhile, IntegrityError or BackendError if it cannot be read."""
    return decode_lockfile(repository.load_unpacked(FileKind.LOCK, lock_id))


def is_stale(lock: LockFile, now_ns: int) -> bool:
    """Whether the lock's holder is gone: not refreshed for 30 minutes, or its process ended on this very host."""
    if now_ns - lock.time.ns > STALE_AFTER_S * NS_PER_S:
        return True
    return lock.hostname == socket.gethostname() and not process_exists(lock.pid)


def process_exists(pid: int) -> bool:
    """Whether there is such a process here; True where that cannot be known."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return True  # there os.kill with signal 0 would end the process instead of asking for it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def describe_lock(lock: LockFile, lock_id: StorageId, now_ns: int) -> str:
    """Who holds the lock and since when: restic's words and lines, which wrappers look for."""
    created = format_time(lock.time.ns, lock.time.offset_s)[:19].replace("T", " ")
    return (
        f"PID {lock.pid} on {lock.hostname} by {lock.username} (UID {lock.uid}, GID {lock.gid})\n"
        f"lock was created at {created} ({go_duration(now_ns - lock.time.ns)} ago)\n"
        f"storage ID {short(lock_id)}"
    )


def remove_stale_locks(repository: LockableRepository, *, now_ns: Callable[[], int] = time.time_ns) -> int:
    """Remove the locks whose holders are gone; their number. Locks that cannot be read stay."""
    return sum(_remove(repository, lock_id) for lock_id in _stale_locks(repository, now_ns))


def remove_all_locks(repository: LockableRepository) -> int:
    """Remove every lock file, whatever is in it; their number."""
    names = [info.name for info in repository.backend.list(FileKind.LOCK)]
    return sum(_remove(repository, parse_storage_id(name)) for name in names)


def _stale_locks(repository: LockableRepository, now_ns: Callable[[], int]) -> Iterator[StorageId]:
    for lock_id in lock_ids(repository):
        try:
            lock = load_lock(repository, lock_id)
        except (BackendError, IntegrityError):
            continue
        if is_stale(lock, now_ns()):
            yield lock_id


def _remove(repository: LockableRepository, lock_id: StorageId) -> int:
    try:
        repository.remove_unpacked(FileKind.LOCK, lock_id)
    except MissingFileError:
        return 0  # released, or removed by another, meanwhile
    return 1
