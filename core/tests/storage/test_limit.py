"""Rates, measured on a clock that is set by hand."""

from __future__ import annotations

import threading

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, UsageError
from limpet.storage.limit import LimitBackend, TokenBucket
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend
from limpet.storage.wrapping import WrappingBackend
from limpet.testing.backend import save_all, some_bytes

KIB = 1024


class Clock:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now_s = 500.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.now_s

    def sleep(self, time_s: float) -> None:
        self.slept.append(time_s)
        self.now_s += time_s


def test_rate_holds_over_time() -> None:
    """`--limit-upload 100` that sends 200 KiB a second takes the line from everybody else."""
    clock = Clock()
    bucket = TokenBucket(100 * KIB, now=clock.now, sleep=clock.sleep)
    for size in (1, 50 * KIB, 999 * KIB, 7, 1000 * KIB):
        bucket.take(size)
    total = 1 + 50 * KIB + 999 * KIB + 7 + 1000 * KIB
    assert clock.now_s - 500 == pytest.approx(total / (100 * KIB) - 1)


def test_pause_saves_up_one_second_only() -> None:
    """After a night of silence the line must not be flooded."""
    clock = Clock()
    bucket = TokenBucket(1000, now=clock.now, sleep=clock.sleep)
    clock.now_s += 10_000
    bucket.take(1000)
    assert clock.slept == []
    bucket.take(1000)
    assert clock.slept == [pytest.approx(1)]


def test_directions_are_apart() -> None:
    """A restore must not be slowed down by the limit for backups."""
    clock = Clock()
    backend = LimitBackend(MemoryBackend(), upload_bps=10 * KIB, now=clock.now, sleep=clock.sleep)
    (handle,) = save_all(backend, FileKind.PACK, [some_bytes(100 * KIB)])
    assert clock.now_s - 500 == pytest.approx(9)
    assert len(backend.load(handle)) == 100 * KIB
    assert clock.now_s - 500 == pytest.approx(9)


def test_download_is_paced_within_a_file() -> None:
    """A pack of 16 MiB that comes at once, and then nothing for minutes, is not what was asked for."""
    clock = Clock()
    recording = RecordingBackend(MemoryBackend())
    data = some_bytes(1000 * KIB)
    (handle,) = save_all(recording, FileKind.PACK, [data])
    backend = LimitBackend(recording, download_bps=100 * KIB, now=clock.now, sleep=clock.sleep)
    assert backend.load(handle, 50 * KIB, 950 * KIB) == data[50 * KIB :]
    buffer = bytearray(950 * KIB)
    backend.load_into(handle, 50 * KIB, memoryview(buffer))
    assert buffer == data[50 * KIB :]
    assert clock.now_s - 500 == pytest.approx(18)
    assert recording.loaded() == 20
    assert max(clock.slept) == pytest.approx(1)


def test_whole_files_are_paced_too() -> None:
    """Indexes and snapshots are loaded whole, and there are thousands of them."""
    clock = Clock()
    backend = LimitBackend(MemoryBackend(), download_bps=10 * KIB, now=clock.now, sleep=clock.sleep)
    for handle in save_all(backend, FileKind.INDEX, [some_bytes(10 * KIB, seed=seed) for seed in range(5)]):
        assert len(backend.load(handle)) == 10 * KIB
    assert clock.now_s - 500 == pytest.approx(4)


def test_interrupt_ends_the_wait() -> None:
    """Ctrl-C with `--limit-upload 10` must not wait half an hour for the pack in work, nor send it all at once."""
    memory = MemoryBackend()
    backend = LimitBackend(memory, upload_bps=10)
    errors: list[BackendError] = []

    def work() -> None:
        try:
            save_all(backend, FileKind.PACK, [some_bytes(100 * KIB)])
        except BackendError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    WrappingBackend(backend).interrupt()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert len(errors) == 1
    assert memory.files == {}


def test_errors_cost_no_time() -> None:
    """A range beyond the end is told at once."""
    clock = Clock()
    backend = LimitBackend(MemoryBackend(), download_bps=KIB, now=clock.now, sleep=clock.sleep)
    (handle,) = save_all(backend, FileKind.PACK, [b"short"])
    with pytest.raises(BackendError):
        backend.load(handle, 6)
    assert clock.slept == []


def test_senseless_rate() -> None:
    """A rate below 0 would wait for ever."""
    with pytest.raises(UsageError):
        TokenBucket(-1)


def test_backends_share_one_rate() -> None:
    """A gateway to ten repositories that sends ten times what --limit-upload allows takes the line from everybody."""
    clock = Clock()
    first = LimitBackend(MemoryBackend(), upload_bps=10 * KIB, now=clock.now, sleep=clock.sleep)
    for backend in (first, first.around(MemoryBackend())):
        save_all(backend, FileKind.PACK, [some_bytes(100 * KIB)])
    assert clock.now_s - 500 == pytest.approx(19)
