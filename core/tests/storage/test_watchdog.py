"""Calls that hang are given up, and what they do afterwards harms nobody."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from limpet.contracts.backend import Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.storage import watchdog
from limpet.storage.memory import MemoryBackend
from limpet.storage.retry import RetryBackend
from limpet.storage.watchdog import WatchdogBackend

TIMEOUT_S = 0.2
NAME = "ab" * 32
PACK = Handle(FileKind.PACK, NAME)


class StuckBackend(MemoryBackend):
    """Hangs in the first `times` calls until it is let go, as a server does that takes a request and never answers."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self._left = times

    def _hang(self) -> None:
        if self._left:
            self._left -= 1
            assert self.let_go.wait(60)

    def save(self, handle: Handle, content: Content) -> None:
        self._hang()
        super().save(handle, content)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        self._hang()
        return super().load(handle, offset_bytes, length_bytes)

    def stat(self, handle: Handle) -> FileInfo:
        self._hang()
        return super().stat(handle)

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        yield from super().list(kind)
        self._hang()

    def remove(self, handle: Handle) -> None:
        self._hang()
        super().remove(handle)


@pytest.fixture
def stuck() -> Iterator[StuckBackend]:
    """A backend whose first call hangs, and that holds one pack."""
    backend = StuckBackend()
    backend.files[PACK] = b"stored before"
    yield backend
    backend.let_go.set()


@pytest.fixture(autouse=True)
def _quick_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the tests needs no time of its own."""
    monkeypatch.setattr(watchdog, "LEAST_RATE_BPS", 1 << 40)


def content(data: bytes) -> Content:
    """The content of a file to save."""
    return Content(memoryview(data), hashlib.sha256(data).digest())


@pytest.mark.parametrize("call", ["save", "load", "load_into", "stat", "list", "remove"])
def test_a_hanging_call_ends(stuck: StuckBackend, call: str) -> None:
    """A backup at night would hang until somebody looks, days later."""
    backend = WatchdogBackend(stuck, TIMEOUT_S)
    calls: dict[str, Callable[[], object]] = {
        "save": lambda: backend.save(PACK, content(b"new")),
        "load": lambda: backend.load(PACK),
        "load_into": lambda: backend.load_into(PACK, 0, memoryview(bytearray(6))),
        "stat": lambda: backend.stat(PACK),
        "list": lambda: list(backend.list(FileKind.PACK)),
        "remove": lambda: backend.remove(PACK),
    }
    begin = time.monotonic()
    with pytest.raises(BackendError, match=r"no answer from memory: for 0\.2s") as caught:
        calls[call]()
    assert not caught.value.permanent
    assert time.monotonic() - begin >= TIMEOUT_S


def test_the_next_try_succeeds(stuck: StuckBackend) -> None:
    """A request that is given up and not made again fails the run just the same."""
    backend = RetryBackend(WatchdogBackend(stuck, TIMEOUT_S), first_pause_s=0.0)
    assert backend.load(PACK, 7, 6) == b"before"
    assert [info.name for info in backend.list(FileKind.PACK)] == [NAME]


def test_the_callers_buffers_are_left_alone(stuck: StuckBackend) -> None:
    """Buffers are used again: what a late call reads from one, or writes into it, would be of another file."""
    backend = WatchdogBackend(stuck, TIMEOUT_S)
    data = bytearray(b"what was meant")
    handle = Handle(FileKind.PACK, "cd" * 32)
    sha256 = hashlib.sha256(data).digest()
    with pytest.raises(BackendError):
        backend.save(handle, Content(memoryview(data), sha256))
    data[:] = b"something else"
    stuck.let_go.set()
    deadline = time.monotonic() + 30
    while handle not in stuck.files and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stuck.files[handle] == b"what was meant"

    slow = StuckBackend()
    slow.files[PACK] = b"stored before"
    target = bytearray(6)
    with pytest.raises(BackendError):
        WatchdogBackend(slow, TIMEOUT_S).load_into(PACK, 0, memoryview(target))
    target[:] = b"in use"
    slow.let_go.set()
    time.sleep(0.1)
    assert target == b"in use"


def test_large_files_have_more_time(stuck: StuckBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack that is on its way over a slow line, and moves, would be given up and begun again, for ever."""
    monkeypatch.setattr(watchdog, "LEAST_RATE_BPS", 100)
    threading.Timer(3 * TIMEOUT_S, stuck.let_go.set).start()
    WatchdogBackend(stuck, TIMEOUT_S).save(Handle(FileKind.PACK, "cd" * 32), content(bytes(1000)))


def test_errors_pass_through() -> None:
    """A file that is missing must stay a missing file, not become a request to try again."""
    backend = WatchdogBackend(MemoryBackend(), 60.0)
    with pytest.raises(MissingFileError):
        backend.load(PACK)
    with pytest.raises(MissingFileError):
        backend.stat(PACK)


def test_a_listing_that_nobody_reads_to_its_end(stuck: StuckBackend) -> None:
    """`find_snapshot` stops at the first match: the thread behind the listing would stay for ever."""
    for number in range(5000):
        stuck.files[Handle(FileKind.SNAPSHOT, f"{number:064x}")] = b""
    before = threading.active_count()
    listing = WatchdogBackend(stuck, 60.0).list(FileKind.SNAPSHOT)
    assert next(iter(listing)).size_bytes == 0
    assert isinstance(listing, Iterator)
    del listing
    stuck.let_go.set()
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
