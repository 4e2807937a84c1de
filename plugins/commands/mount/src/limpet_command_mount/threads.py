"""Threads for what has to wait: they are gone when the mount is, and nobody waits for one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import outcome
import trio

T = TypeVar("T")

Job = Callable[[], None]


class AbandonedError(Exception):
    """Nobody waits for calls any more: the mount ends."""


class Threads:
    """Runs calls for tasks of one trio loop. trio's own threads live on for 10 seconds, and cannot be waited for."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._waiting: dict[object, trio.lowlevel.Task] = {}
        self._is_idle = trio.Event()
        self._is_abandoned = False

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """The result of the call, which goes on without us if the task is cancelled. AbandonedError at the end."""
        if self._is_abandoned:
            raise AbandonedError
        token = trio.lowlevel.current_trio_token()
        call = object()

        def deliver(result: outcome.Outcome[T]) -> None:
            self._busy -= 1
            task = self._forget(call)
            if task is not None:
                trio.lowlevel.reschedule(task, result)

        def job() -> None:
            result = outcome.capture(work, *args)
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(deliver, result)

        def abandon(_: object) -> trio.lowlevel.Abort:
            self._forget(call)
            return trio.lowlevel.Abort.SUCCEEDED

        self._enqueue(job)
        self._waiting[call] = trio.lowlevel.current_task()
        found: Any = await trio.lowlevel.wait_task_rescheduled(abandon)
        return found  # type: ignore[no-any-return]  # trio knows no type for it

    def start(self, work: Callable[[], object]) -> None:
        """Do the work, which raises nothing, some time; nobody waits for it."""

        def job() -> None:
            try:
                work()
            finally:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(self._done)

        token = trio.lowlevel.current_trio_token()
        self._enqueue(job)

    def _done(self) -> None:
        self._busy -= 1

    def _forget(self, call: object) -> trio.lowlevel.Task | None:
        """The task that waits for the call, which it does no longer."""
        task = self._waiting.pop(call, None)
        if not self._waiting:
            self._is_idle.set()
        return task

    def _enqueue(self, job: Job) -> None:
        if len(self._threads) <= self._busy and len(self._threads) < self._limit:
            thread = threading.Thread(target=self._work, name="limpet-mount", daemon=True)
            try:
                thread.start()
                self._threads.append(thread)
            except RuntimeError:  # the system gives no more of them
                if not self._threads:
                    raise
        self._busy += 1
        self._jobs.put(job)

    async def wait_until_idle(self) -> None:
        """Return when no task waits for a call."""
        while self._waiting:
            self._is_idle = trio.Event()
            await self._is_idle.wait()

    def abandon(self) -> None:
        """Every task that waits for a call, or will, gets an AbandonedError: from now on nothing has to wait."""
        self._is_abandoned = True
        for call in tuple(self._waiting):
            task = self._forget(call)
            if task is not None:
                trio.lowlevel.reschedule(task, outcome.Error(AbandonedError()))

    def close(self, limit_s: float) -> bool:
        """End the threads, once the loop has ended; whether all have within the limit."""
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
