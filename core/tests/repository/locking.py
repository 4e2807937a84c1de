"""What the tests of locks share: a recorded storage, a clock set by hand, processes that hold a lock."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from limpet.contracts.backend import Backend, FileInfo, FileKind, Handle
from limpet.format.kdf import KdfParameters
from limpet.format.lockfile import LockFile, encode_lockfile
from limpet.format.timestamps import NS_PER_S, Time
from limpet.ids import StorageId
from limpet.repository.locks import LockTiming, RepositoryLock
from limpet.repository.repository import Repository
from limpet.storage.recording import RecordingBackend
from limpet.testing.backend import content_of, handle_of
from limpet.testing.listening import Listening

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


class HeldLooks(RecordingBackend):
    """A storage that shows the locks to the lock's own thread only while it `may_look`."""

    def __init__(self, store: Backend) -> None:
        super().__init__(store)
        self.may_look = threading.Event()
        self.may_look.set()

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        if threading.current_thread() is not threading.main_thread():
            assert self.may_look.wait(60)
        return super().list(kind)


class Setup:
    """A repository on a recorded storage, and a clock for its locks."""

    def __init__(self, store: Backend) -> None:
        self.store = store
        self.recording = HeldLooks(store)
        self.repository = Repository.create(self.recording, PASSWORD, kdf=CHEAP)
        self.clock = Clock()
        self.told = Listening()

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

    @contextmanager
    def before_the_last_look(self) -> Iterator[None]:
        """What is done herein is done before the lock's thread looks, however long it takes."""
        self.recording.may_look.clear()
        try:
            yield
        finally:
            self.recording.may_look.set()

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


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what another thread or process is about to do."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


SLEEPER = """
import sys, time
from limpet_backend_local import LocalBackend
from limpet.repository.repository import Repository
repository = Repository.open(LocalBackend.open(sys.argv[1], {}), sys.argv[2])
with repository.lock(exclusive=sys.argv[3] == "exclusive"):
    print("locked", flush=True)
    time.sleep(60)
"""


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
