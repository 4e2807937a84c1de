"""Calls that hang hold up neither those who wait for them nor the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from limpet_command_mount.threads import AbandonedError, Threads

LIMIT_S = 60.0


@pytest.fixture
def answer() -> Iterator[threading.Event]:
    """What the hanging calls wait for; it comes at the end at the latest."""
    event = threading.Event()
    yield event
    event.set()


def test_abandoned(answer: threading.Event) -> None:
    """Once the mount ends every reader is told, also one who comes late: the kernel keeps pages locked for each."""
    threads = Threads(2)
    told: list[str] = []

    async def wait(name: str) -> None:
        with pytest.raises(AbandonedError):
            await threads.run(answer.wait)
        told.append(name)

    async def main() -> None:
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                for name in ("first", "second", "third"):  # more than there are threads
                    nursery.start_soon(wait, name)
                await trio.testing.wait_all_tasks_blocked()
                with trio.move_on_after(0) as hasty:
                    await threads.wait_until_idle()
                assert hasty.cancelled_caught
                threads.abandon()
                await threads.wait_until_idle()
            await wait("late")

    trio.run(main)
    assert sorted(told) == ["first", "late", "second", "third"]
    assert not threads.close(0)
    answer.set()
    assert threads.close(LIMIT_S)


def test_an_answer_that_comes_too_late(answer: threading.Event) -> None:
    """Who has given up waiting, and waits for something else by now, must not get the old answer for the new one."""
    threads = Threads(2)
    goes_on = threading.Event()

    async def main() -> None:
        with trio.fail_after(LIMIT_S):
            with trio.move_on_after(0):
                await threads.run(answer.wait)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, answer.set)
                assert await threads.run(lambda: goes_on.wait(0.2)) is False

    trio.run(main)
    assert threads.close(LIMIT_S)
