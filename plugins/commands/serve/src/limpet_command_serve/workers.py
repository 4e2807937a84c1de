"""Threads that do what may block, each with a buffer of its own: memory grows with them, not with the clients."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

MOST_THREADS = 16
"""Many of them wait for a disk to sync; the processors have enough with fewer."""
BUFFER_BYTES = 128 * 1024
STACK_BYTES = 512 * 1024

R = TypeVar("R")
Work = Callable[[memoryview], R]
"""Something to do in a thread; it may use the thread's buffer meanwhile."""


class _Job(Generic[R]):
    """One work and who waits for it. All but `run` happens in the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work[R], ended: Callable[[], None]) -> None:
        self.future: asyncio.Future[R] = loop.create_future()
        self.has_ended = False
        self._loop = loop
        self._work = work
        self._ended = ended
        self._waiter: asyncio.Future[None] | None = None

    def run(self, buffer: memoryview) -> None:
        """Do it, in a worker thread."""
        try:
            result = self._work(buffer)
        except BaseException as error:  # whatever it is, it belongs to who waits
            self._loop.call_soon_threadsafe(self._fail, error)
        else:
            self._loop.call_soon_threadsafe(self._succeed, result)

    async def end(self) -> None:
        """Return when it has ended, though its future was cancelled."""
        self._waiter = self._loop.create_future()
        await self._waiter

    def _succeed(self, result: R) -> None:
        if not self.future.done():
            self.future.set_result(result)
        self._end()

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)
        self._end()

    def _end(self) -> None:
        self._ended()
        self.has_ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Workers:
    """Threads that come when they are needed and stay. `run` is for the event loop's thread alone."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Callable[[memoryview], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    async def run(self, work: Work[R]) -> R:
        """What the work returns or raises. Cancelled meanwhile, it still waits for the end of the work."""
        job = _Job(asyncio.get_running_loop(), work, self._ended)
        self._busy += 1
        if self._busy > len(self._threads) < self._most:
            self._start_thread()
        self._jobs.put(job.run)
        try:
            return await job.future
        except asyncio.CancelledError:
            # What the thread works with must not be closed under it.
            while not job.has_ended:
                with suppress(asyncio.CancelledError):
                    await job.end()
            raise

    def close(self, timeout_s: float) -> bool:
        """End the threads, when what is queued is done; whether all have ended by then."""
        for _ in self._threads:
            self._jobs.put(None)
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _ended(self) -> None:
        self._busy -= 1

    def _start_thread(self) -> None:
        threading.stack_size(STACK_BYTES)
        thread = threading.Thread(target=self._work, name="limpet-serve-worker", daemon=True)
        thread.start()
        threading.stack_size(0)
        self._threads.append(thread)

    def _work(self) -> None:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        while (job := self._jobs.get()) is not None:
            job(buffer)
