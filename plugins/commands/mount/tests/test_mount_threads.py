"""Calls that hang hold up neither those who wait for them nor the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

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


@pytest.fixture
def no_more_threads() -> Iterator[Callable[[], object]]:
    """Has the system refuse new threads from then on."""
    usual = threading.stack_size()
    yield lambda: threading.stack_size(1 << 46)
    threading.stack_size(usual)


def test_a_system_without_threads(answer: threading.Event, no_more_threads: Callable[[], object]) -> None:
    """A limit on processes must not take the mount away: calls fail, or wait for the threads that there are."""
    threads, others = Threads(2), Threads(2)

    async def main() -> None:
        with trio.fail_after(LIMIT_S):
            assert await threads.run(str, 1) == "1"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(threads.run, answer.wait)
                await trio.testing.wait_all_tasks_blocked()
                no_more_threads()
                nursery.start_soon(threads.run, str, 2)
                await trio.testing.wait_all_tasks_blocked()
                answer.set()
            with pytest.raises(RuntimeError):
                await others.run(str, 3)
            await others.wait_until_idle()
            others.abandon()

    trio.run(main)
    assert others.close(0)
    assert threads.close(LIMIT_S)
