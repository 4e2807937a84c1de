"""Worker processes and the buffers they share with their parent; the same in threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest
from limpet.errors import LimpetError
from limpet.repository.workers import BuffersClosedError, SharedBuffers, Workers, can_fork

MIB = 1024 * 1024


class State:
    """What a worker keeps."""

    def __init__(self, buffers: SharedBuffers | None = None) -> None:
        self.buffers = buffers
        self.calls = 0


def count(state: State, more: int) -> tuple[int, int, int]:
    """How often this worker was called, and which it is."""
    state.calls += more
    return state.calls, os.getpid(), threading.get_ident()


def total(state: State) -> int:
    """How often this worker was called."""
    return state.calls


def fill(state: State, number: int, value: int) -> None:
    """Write into a shared buffer."""
    assert state.buffers is not None
    view = state.buffers.view(number)
    view[:] = bytes([value]) * len(view)


def fail(_state: State, text: str) -> None:
    """An error of the task's own."""
    raise LimpetError(text)


def die(_state: State) -> None:
    """As if the system had killed it."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait(_state: State, seconds: float) -> None:
    """Be busy."""
    time.sleep(seconds)


@pytest.fixture(params=["processes", "threads"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With processes and with threads."""
    monkeypatch.setenv("LIMPET_THREADS", "1" if request.param == "threads" else "0")
    assert can_fork() == (request.param == "processes")
    return str(request.param)


def test_one_state_a_worker(both_ways: str) -> None:
    """A compressor or a cipher used by two workers at once gives wrong bytes."""
    with Workers(State, 3) as workers:
        answers = [future.result() for future in [workers.submit(count, 1) for _ in range(60)]]
        assert sum(workers.on_each(total)) == 60
        assert len(workers.on_each(total)) == 3
    own = {answer[1 if both_ways == "processes" else 2] for answer in answers}
    assert 1 <= len(own) <= 3
    assert (os.getpid() in {answer[1] for answer in answers}) == (both_ways == "threads")


def test_buffers_are_shared(both_ways: str) -> None:
    """What a worker writes has to be seen without being sent: a pack is 16 MiB."""
    buffers = SharedBuffers(2, MIB)
    with Workers(lambda: State(buffers), 2) as workers:
        numbers = [buffers.acquire(), buffers.acquire()]
        for future in [workers.submit(fill, number, number + 1) for number in numbers]:
            future.result()
    assert [bytes(buffers.view(number)) for number in numbers] == [bytes([number + 1]) * MIB for number in numbers]


def test_errors_come_back(both_ways: str) -> None:
    """An error in a worker must not be lost, nor end the others."""
    with Workers(State, 2) as workers:
        failed = workers.submit(fail, "of its own")
        with pytest.raises(LimpetError, match="of its own"):
            failed.result()
        assert workers.submit(count, 1).result()[0] >= 1


def test_killed_worker() -> None:
    """Whoever waits for a worker that is gone would wait for ever."""
    workers = Workers(State, 2)
    with pytest.raises(Exception, match="terminated abruptly"):
        workers.submit(die).result(timeout=30)
    with pytest.raises(LimpetError, match="worker process died"):
        workers.submit(count, 1)
    with pytest.raises(LimpetError, match="worker process died"):
        workers.on_each(total)
    workers.kill()


def test_kill_does_not_wait() -> None:
    """Ctrl-C has to end within a second or two, whatever the workers do."""
    started = time.monotonic()
    workers = Workers(State, 2)
    futures = [workers.submit(wait, 60.0) for _ in range(4)]
    workers.kill()
    assert time.monotonic() - started < 20
    assert not any(future.done() and future.exception() is None for future in futures if not future.cancelled())


def test_waiting_for_a_buffer() -> None:
    """A reader that waits when the run is given up would keep the process from ending."""
    buffers = SharedBuffers(1, 4096)
    number = buffers.acquire()
    threading.Timer(0.1, lambda: buffers.release(number)).start()
    assert buffers.acquire() == number
    threading.Timer(0.1, buffers.close).start()
    with pytest.raises(BuffersClosedError):
        buffers.acquire()


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Do it in a thread, for it may never end; its error is raised here."""
    ended: Future[object] = Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    ended.result(seconds)


def process_id(_state: State) -> int:
    """Of this worker."""
    return os.getpid()


def large_result(_state: State, killed_after_s: float) -> bytes:
    """More than a pipe holds; the worker is killed while it is on its way."""
    if not os.fork():  # a thread of its own would only come up between two writes
        time.sleep(killed_after_s)
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(0)
    return bytes(256 * MIB)


@pytest.mark.skipif(not can_fork(), reason="threads are not killed")
@pytest.mark.parametrize("count", [2, 4])
def test_worker_killed_when_all_is_done(count: int) -> None:
    """A run that has done its work would hang at its end: the dead one holds the lock of the queue of tasks."""
    for victim in range(count):
        workers = Workers(State, count)
        os.kill(sorted(workers.on_each(process_id))[victim], signal.SIGKILL)
        _within(60, workers.close)


@pytest.mark.skipif(not can_fork(), reason="threads are not killed")
def test_worker_killed_at_its_start() -> None:
    """A worker that is killed before there is anything to do must end the others, or the program hangs at its end."""
    parent = os.getpid()

    def state() -> State:
        if process.is_set():
            os.kill(os.getpid(), signal.SIGKILL)
        process.set()
        assert os.getpid() != parent
        return State()

    process = multiprocessing.get_context("fork").Event()
    with pytest.raises(LimpetError, match="worker process died"):
        _within(60, lambda: Workers(state, 3).on_each(total))
    deadline = time.monotonic() + 60
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not can_fork(), reason="threads are not killed")
@pytest.mark.parametrize("killed_after_s", [0.05, 0.1, 0.2])
def test_worker_killed_amid_its_result(killed_after_s: float) -> None:
    """Half a result is in the pipe, and whoever reads it waits for the rest."""
    workers = Workers(State, 2)
    with pytest.raises(BrokenProcessPool):
        _within(60, workers.submit(large_result, killed_after_s).result)
    _within(60, workers.kill)


def long_result(_state: State) -> bytes:
    """More than a pipe holds."""
    return bytes(64 * MIB)


@pytest.mark.skipif(not can_fork(), reason="threads are not killed")
def test_given_up_amid_a_result() -> None:
    """Ctrl-C while a result is on its way held the prompt back by the whole time that the end waits for its reader."""
    for round_number in range(10):
        workers = Workers(State, 2)
        for _ in range(4):
            workers.submit(long_result)
        reader = getattr(workers._executor, "_executor_manager_thread")  # noqa: B009  # a detail of the library
        time.sleep(0.02 * round_number)
        workers.kill()
        assert not reader.is_alive()


@pytest.mark.skipif(not can_fork(), reason="needs fork")
def test_earlier_workers_leave_no_descriptors() -> None:
    """A program that makes a backup every hour would have no descriptors left after some weeks."""

    def open_descriptors() -> int:
        with Workers(State, 1) as workers:
            workers.submit(total).result()
        return len(os.listdir("/proc/self/fd"))

    counts = [open_descriptors() for _ in range(20)]
    assert counts[-1] < counts[1] + 19  # each keeps two or more; a pair may wait for the collector
