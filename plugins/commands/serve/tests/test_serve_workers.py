"""The threads beside the event loop: nothing is pulled away under them, and none of them keeps the server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from limpet_command_serve.workers import Workers


def test_a_cancelled_step_is_waited_for() -> None:
    """What a thread writes to must not be closed meanwhile: the descriptor may be another file's by then."""
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work(_buffer: memoryview) -> None:
        began.set()
        may_end.wait()
        ended.set()

    async def run() -> bool:
        workers = Workers()
        task = asyncio.create_task(workers.run(work))
        await asyncio.to_thread(began.wait)
        for _ in range(3):  # one cancellation must not hide another
            task.cancel()
            await asyncio.sleep(0.01)
        was_pending = not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert workers.close(10.0)
        return was_pending and ended.is_set()

    assert asyncio.run(run())


def test_errors_come_to_who_waits() -> None:
    """An error that a thread swallows is an upload that never ends."""

    def fail(_buffer: memoryview) -> None:
        raise ValueError("no")

    async def run() -> Sequence[object]:
        workers = Workers(most=2)
        results = await asyncio.gather(
            *(workers.run(fail) for _ in range(20)), *(workers.run(len) for _ in range(20)), return_exceptions=True
        )
        assert workers.close(10.0)
        return results

    results = asyncio.run(run())
    assert all(isinstance(result, ValueError) for result in results[:20])
    assert all(isinstance(result, int) for result in results[20:])


def test_a_hanging_disk_does_not_keep_the_server() -> None:
    """Who restarts a server because its disk hangs must not wait for that disk."""
    began, may_end = threading.Event(), threading.Event()

    def hang(_buffer: memoryview) -> None:
        began.set()
        may_end.wait()

    async def run() -> bool:
        workers = Workers()
        task = asyncio.create_task(workers.run(hang))
        await asyncio.to_thread(began.wait)
        has_ended = workers.close(0.05)
        may_end.set()
        await task
        return has_ended

    assert not asyncio.run(run())
