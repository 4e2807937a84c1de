"""Threads that do what may block, each with a buffer of its own: memory grows with them, not with the clients."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

MOST_THREADS = 16
"""Many of them wait for a disk to sync; the processors have enough with fewer."""
BUFFER_BYTES = 256 * 1024
STACK_BYTES = 512 * 1024

R = TypeVar("R")
Work = Callable[[memoryview], R]
"""Something to do in a thread; it may use the thread's buffer meanwhile."""


class Workers:
    """Threads that come when they are needed and stay. `run` is for the event loop's thread alone."""

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._jobs: queue.SimpleQueue[Callable[[memoryview], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    async def run(self, work: Work[R]) -> R:
        """What the work returns or raises. Cancelled meanwhile, it still waits for the end of the work."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()

        def job(buffer: memoryview) -> None:
            try:
                result = work(buffer)
            except BaseException as error:  # whatever it is, it belongs to who waits
                loop.call_soon_threadsafe(self._fail, future, error)
            else:
                loop.call_soon_threadsafe(self._succeed, future, result)

        self._busy += 1
        if self._busy > len(self._threads) < self._most:
            self._start_thread()
        self._jobs.put(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # What the thread works with must not be closed under it.
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            future.exception()  # Looked at, or the loop would complain.
            raise

    def close(self) -> None:
        """End the threads, when what is queued is done."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _succeed(self, future: asyncio.Future[R], result: R) -> None:
        self._busy -= 1
        future.set_result(result)

    def _fail(self, future: asyncio.Future[R], error: BaseException) -> None:
        self._busy -= 1
        future.set_exception(error)

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
