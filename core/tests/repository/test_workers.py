"""Worker processes and the buffers they share with their parent; the same in threads."""

from __future__ import annotations

import os
import signal
import threading
import time

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
