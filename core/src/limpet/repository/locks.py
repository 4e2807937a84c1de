"""Holding a lock on a repository: gained by restic's protocol, kept fresh, and no write without it.

The protocol is restic's (`internal/repository/lock.go`, 0.19): look for locks that exclude ours, write ours, wait,
look again. We also look at once after writing: of two whose storage shows each file as soon as it is written, one sees
the other there, so that nothing is read that an exclusive run is changing. The look after the wait, for storages that
lag, goes on beside the run, which may read meanwhile; its first write waits for it. Every 5 minutes a new lock file
replaces the old one. After 22.5 minutes without that the lock counts as nearly stale: writes are held back until it
was refreshed once more, which needs the old file to be there still.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FrameType, TracebackType
from typing import Self

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError, LimpetError, LockedError, MissingFileError, RepositoryError
from limpet.format.lockfile import LockFile, encode_lockfile
from limpet.format.timestamps import NS_PER_S, Time, go_duration
from limpet.ids import StorageId
from limpet.progress import Reporter, SilentReporter
from limpet.repository.lock_files import (
    STALE_AFTER_S,
    LockableRepository,
    describe_lock,
    is_stale,
    load_lock,
    lock_ids,
    own_lock,
    remove_all_locks,
    remove_stale_locks,
)
from limpet.repository.shield import shielded
from limpet.storage.freeze import FreezeBackend, find_freezer

__all__ = ["LockTiming", "RepositoryLock", "remove_all_locks", "remove_stale_locks"]


@dataclass(frozen=True, slots=True)
class LockTiming:
    """How long everything takes, in seconds; restic's values. Tests take shorter ones."""

    settle_s: float = 0.2
    """Between writing our lock and looking for others once more."""
    settle_limit_s: float = 60.0
    """How long the error that ended a run is held back until the last look is done."""
    refresh_every_s: float = 5 * 60.0
    refresh_again_s: float = 60.0
    """Between the tries of a refresh that fails."""
    poll_s: float = 1.0
    """Between two looks at the wall clock: timers stand still while a machine sleeps."""
    unreadable_pauses_s: tuple[float, ...] = (5.0, 10.0, 20.0)
    """Before looking again at a lock that could not be read."""
    first_retry_s: float = 5.0
    """Before trying again to gain the lock; doubles up to the longest."""
    longest_retry_s: float = 60.0
    release_limit_s: Callable[[], float] = lambda: 60.0
    """Before the run ends although the storage does not answer to the removal of our lock; asked when that begins."""
    thread_limit_s: float = 1.0
    """Before the run ends although the storage does not answer to the lock's thread."""

    @property
    def refreshable_s(self) -> float:
        """The age from which on the lock must be proved before anything is written: well before it is stale."""
        return STALE_AFTER_S - self.refresh_every_s * 1.5


DEFAULT_TIMING = LockTiming()


class RepositoryLock:
    """A context manager: gains the lock, keeps it fresh in a thread, removes it.

    LockedError on entering if another's lock excludes it, and from every write once ours is lost. Where two lock in
    the same moment, on a storage that lags, it comes from the first write or on leaving: only the last look tells.
    """

    def __init__(
        self,
        repository: LockableRepository,
        *,
        exclusive: bool,
        retry_lock_s: float = 0.0,
        freezer: FreezeBackend | None = None,
        reporter: Reporter | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], object] = time.sleep,
        timing: LockTiming = DEFAULT_TIMING,
    ) -> None:
        self._repository = repository
        self._exclusive = exclusive
        self._retry_lock_s = retry_lock_s
        self._freezer = freezer or find_freezer(repository.backend)
        self._reporter = reporter or SilentReporter()
        self._now_ns = now_ns
        self._sleep = sleep
        self._timing = timing
        self._process_id = os.getpid()
        self._lock_id: StorageId | None = None
        self._refreshed_ns = 0
        self._next_try_ns = 0
        self._lost: str | None = None
        self._mutex = threading.Lock()  # one refresh at a time, and none beside the release
        self._released = threading.Event()
        self._settled = threading.Event()
        self._refusal: LimpetError | None = None
        self._thread: threading.Thread | None = None
        self._hangup = _IgnoredHangup()

    @property
    def lock_id(self) -> StorageId | None:
        """The file that is our lock now; None while there is none."""
        return self._lock_id

    @property
    def lost(self) -> str | None:
        """Why the lock is ours no longer; None while it is."""
        return self._lost

    def __enter__(self) -> Self:
        self._hangup.begin()
        atexit.register(self._release_at_exit)  # for an interrupt that comes just before the with block is entered
        try:
            self._gain()
            if self._freezer is not None:
                self._freezer.add_guard(self._guard)
            thread = threading.Thread(target=self._keep_fresh, name="limpet-lock", daemon=True)
            thread.start()
            self._thread = thread
        except BaseException:
            self.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, LimpetError):
                # What somebody else does to the repository at this moment may be the cause.
                self._settled.wait(self._timing.settle_limit_s)
        finally:
            self.release()
        if self._refusal is not None and (error is None or isinstance(error, LimpetError)):
            raise self._refusal from error

    def release(self) -> None:
        """Remove our lock. Idempotent; a failure is only told, for the lock becomes stale by itself."""
        if self._released.is_set() or os.getpid() != self._process_id:
            return
        try:
            if not shielded(self._release, limit_s=self._timing.release_limit_s()):
                self._reporter.warning("unable to remove the lock in time; `unlock` removes it when it is stale")
        finally:
            self._hangup.end()
            if self._released.is_set():
                atexit.unregister(self._release_at_exit)

    # -- gaining ------------------------------------------------------------------------------------------------

    def _gain(self) -> None:
        """Look, write our lock, look again; the last look here if we may have to try again, else beside the run."""
        if self._retry_lock_s <= 0:
            try:
                self._try_to_gain(settle_s=0.0)
            except LockedError:
                self._tell_locked()
                raise
            return
        left_s, pause_s = self._retry_lock_s, self._timing.first_retry_s
        while True:
            try:
                self._try_to_gain(settle_s=self._timing.settle_s)
            except LockedError:
                if left_s <= 0:
                    raise
                if left_s == self._retry_lock_s:
                    self._tell_locked()
                pause_s = min(pause_s, left_s, self._timing.longest_retry_s)
                self._sleep(pause_s)
                left_s -= pause_s
                pause_s *= 2
            else:
                self._settled.set()
                return

    def _tell_locked(self) -> None:
        limit = go_duration(round(self._retry_lock_s * NS_PER_S))
        self._reporter.note(f"repo already locked, waiting up to {limit} for the lock")

    def _try_to_gain(self, *, settle_s: float) -> None:
        try:
            self._refuse_if_locked(self._sleep)
            shielded(self._save_lock)
            if settle_s:
                self._sleep(settle_s)
            self._refuse_if_locked(self._sleep)
        except BaseException as error:
            lock_id = self._lock_id
            if lock_id is not None:
                shielded(lambda: self._discard(lock_id))
                self._lock_id = None
            if isinstance(error, BackendError):
                raise _no_lock(error) from error
            raise

    def _look_again(self) -> None:
        """The last look, in the lock's thread. Whatever goes wrong with it, nothing is written without it.

        A lock that is released before, or meanwhile, has not been in anybody's way.
        """
        try:
            if not self._released.wait(self._timing.settle_s):
                self._refuse_if_locked(self._released.wait)
        except Exception as error:
            if not self._released.is_set():  # else it was our own lock that was seen on its way out
                self._refusal = _refusal(error)
                self._lost = str(self._refusal)
        finally:
            self._settled.set()

    def _save_lock(self) -> None:
        now_ns = self._now_ns()
        lock = encode_lockfile(own_lock(self._exclusive, now_ns))
        self._lock_id = self._repository.save_unpacked(FileKind.LOCK, lock)
        self._set_refreshed(now_ns)

    def _refuse_if_locked(self, pause: Callable[[float], object]) -> None:
        """LockedError if there is a lock that excludes ours, RepositoryError if one stays unreadable.

        A lock that cannot be read may be one that excludes us, and may be one that is being written: after a pause it
        is read again.
        """
        checked: set[StorageId] = set()
        for pause_s in (0.0, *self._timing.unreadable_pauses_s):
            if pause_s:
                pause(pause_s)
            try:
                return self._look_at_locks(checked)
            except (BackendError, IntegrityError) as error:
                last_error = error
        if isinstance(last_error, IntegrityError):
            raise RepositoryError(
                f"invalid lock file: {last_error}; if no other process uses the repository, "
                "`unlock --remove-all` removes invalid locks"
            ) from last_error
        raise last_error

    def _look_at_locks(self, checked: set[StorageId]) -> None:
        for lock_id, lock in self._locks_of_others(checked):
            if self._exclusive or lock.exclusive:
                exclusively = " exclusively" if lock.exclusive else ""
                holder = describe_lock(lock, lock_id, self._now_ns())
                hint = " (it looks stale)" if is_stale(lock, self._now_ns()) else ""
                raise LockedError(
                    f"unable to create lock in backend: repository is already locked{exclusively} by {holder}\n"
                    f"the `unlock` command can be used to remove stale locks{hint}"
                )
            checked.add(lock_id)

    def _locks_of_others(self, checked: set[StorageId]) -> Iterator[tuple[StorageId, LockFile]]:
        for lock_id in lock_ids(self._repository):
            if lock_id != self._lock_id and lock_id not in checked:
                try:
                    yield lock_id, load_lock(self._repository, lock_id)
                except MissingFileError:
                    if lock_id in lock_ids(self._repository):
                        raise
                    # Gone since it was listed: released, or refreshed under another name that was not listed yet.
                    yield from self._locks_of_others(checked | {lock_id})

    # -- keeping ------------------------------------------------------------------------------------------------

    def _keep_fresh(self) -> None:
        if not self._settled.is_set():
            self._look_again()
        while not self._released.wait(self._timing.poll_s):
            if self._lost is not None:
                return
            now_ns = self._now_ns()
            if self._is_nearly_stale(now_ns):
                self._prove()
            elif now_ns >= self._next_try_ns or now_ns < self._refreshed_ns:
                self._refresh()

    def _guard(self, kind: FileKind | None) -> None:
        """Called before every write, so that the first one after a long standby already knows.

        Before a file that makes packs count our lock must be seen to be there: whoever has removed it by force may
        have removed packs since, and a snapshot of these would be worse than none.
        """
        self._settled.wait()
        if self._refusal is not None:
            raise self._refusal
        if self._lost is not None:
            return
        if self._is_nearly_stale(self._now_ns()):
            self._prove()
        elif kind in {FileKind.INDEX, FileKind.SNAPSHOT}:
            self._see()

    def _see(self) -> None:
        """Lose the lock if its file is gone. Asks for it by name: a listing may lag behind on some storages."""
        with self._mutex:
            if self._lock_id is None or self._released.is_set():
                return
            try:
                self._repository.backend.stat(Handle(FileKind.LOCK, self._lock_id.hex()))
            except MissingFileError:
                self._lose("the lock file was removed in the meantime")

    def _is_nearly_stale(self, now_ns: int) -> bool:
        return now_ns - self._refreshed_ns >= self._timing.refreshable_s * NS_PER_S

    def _refresh(self) -> None:
        """Replace the lock file by a newer one. A storage that fails is asked again; a lock that is gone is lost."""
        with self._mutex:
            if self._released.is_set() or self._lost is not None:
                return
            now_ns = self._now_ns()
            self._next_try_ns = now_ns + int(self._timing.refresh_again_s * NS_PER_S)
            try:
                self._replace_lock(now_ns, settle_s=0.0)
            except LockedError as error:
                self._lose(str(error))
            except LimpetError as error:
                self._reporter.warning(f"unable to refresh the lock: {error}")

    def _prove(self) -> None:
        """Refresh a lock that may be stale to others by now: writes wait, and never go on if it cannot be done."""
        if self._freezer is not None:
            self._freezer.freeze()
        try:
            with self._mutex:
                now_ns = self._now_ns()
                if self._released.is_set() or self._lost is not None or not self._is_nearly_stale(now_ns):
                    return
                try:
                    self._replace_lock(now_ns, settle_s=self._timing.settle_s)
                except LimpetError as error:
                    self._lose(str(error))
        finally:
            if self._freezer is not None:
                self._freezer.thaw()

    def _replace_lock(self, now_ns: int, settle_s: float) -> None:
        """Write a new lock and remove the old one; LockedError if the old one is not there after all.

        The new one counts as soon as it is written, even if the old one cannot be removed (restic issue 2452).
        """
        old_id = self._lock_id
        assert old_id is not None
        if settle_s:
            self._refuse_if_gone(old_id)
        lock = replace(own_lock(self._exclusive, now_ns), time=Time(now_ns))
        new_id = self._repository.save_unpacked(FileKind.LOCK, encode_lockfile(lock))
        try:
            if settle_s:
                self._sleep(settle_s)
            self._refuse_if_gone(old_id)
        except BaseException:
            self._discard(new_id)
            raise
        self._lock_id = new_id
        self._set_refreshed(now_ns)
        self._discard(old_id)

    def _refuse_if_gone(self, lock_id: StorageId) -> None:
        if lock_id not in lock_ids(self._repository):
            raise LockedError("the lock file was removed in the meantime")

    def _set_refreshed(self, now_ns: int) -> None:
        self._refreshed_ns = now_ns
        self._next_try_ns = now_ns + int(self._timing.refresh_every_s * NS_PER_S)

    def _lose(self, reason: str) -> None:
        self._lost = f"the lock on the repository was lost ({reason}): nothing more is written; run the command again"
        if self._freezer is not None:
            self._freezer.stop(self._lost)
        self._reporter.warning(self._lost)

    # -- releasing ----------------------------------------------------------------------------------------------

    def _release(self) -> None:
        self._released.set()
        if self._freezer is not None:
            with contextlib.suppress(ValueError):
                self._freezer.remove_guard(self._guard)
        with self._mutex:
            lock_id, self._lock_id = self._lock_id, None
        if lock_id is not None:
            self._discard(lock_id)
        if self._thread is not None:
            self._thread.join(self._timing.thread_limit_s)

    def _release_at_exit(self) -> None:
        if not self._released.is_set() and os.getpid() == self._process_id:
            self._release()

    def _discard(self, lock_id: StorageId) -> None:
        try:
            self._repository.remove_unpacked(FileKind.LOCK, lock_id)
        except MissingFileError:
            pass
        except LimpetError as error:
            self._reporter.warning(f"unable to remove the lock {lock_id.hex()}: {error}")


def _no_lock(error: BackendError) -> BackendError:
    return BackendError(f"cannot create a lock: {error}", permanent=error.permanent)


def _refusal(error: Exception) -> LimpetError:
    """What every write ends in after the last look ended in `error`; permanent, for it is not looked once more."""
    if isinstance(error, BackendError) or not isinstance(error, LimpetError):
        return BackendError(f"cannot create a lock: {error}", permanent=True)
    return error


class _IgnoredHangup:
    """While we hold a lock, SIGHUP must not end us: restic's `unlock` sends it to learn whether we are alive.

    A handler that does nothing, rather than SIG_IGN, which programs that we start would inherit.
    """

    def __init__(self) -> None:
        self._is_set = False

    def begin(self) -> None:
        if (
            hasattr(signal, "SIGHUP")
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        ):
            signal.signal(signal.SIGHUP, _do_nothing)
            self._is_set = True

    def end(self) -> None:
        if self._is_set and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            self._is_set = False


def _do_nothing(_signal: int, _frame: FrameType | None) -> None:
    return
