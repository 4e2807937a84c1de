"""Tasks for the workers and what to do with their results, which happens in one thread alone."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Concatenate, Generic, ParamSpec, TypeVar

from limpet.repository.workers import Workers, worker_died

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
I = TypeVar("I")  # noqa: E741 - items

TASKS_PER_WORKER = 4
"""How many batches may wait for each worker: enough to keep it busy, few enough to cost no memory."""


class TaskQueue(Generic[S]):
    """Submits tasks; results are handled by the thread that calls `submit`, `drain` or `run_until`."""

    def __init__(self, workers: Workers[S]) -> None:
        self._workers = workers
        self._limit = workers.count * TASKS_PER_WORKER
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._outstanding = 0
        self._lock = threading.Lock()

    def submit(
        self, done: Callable[[R], None], task: Callable[Concatenate[S, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have a worker do the task; handles earlier results while too much is waiting."""
        while self._outstanding >= self._limit:
            self._events.get()()
        self.submit_now(done, task, *args, **kwargs)

    def submit_now(
        self, done: Callable[[R], None], task: Callable[Concatenate[S, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have a worker do the task, at once and from any thread."""
        with self._lock:
            self._outstanding += 1
        future = self._workers.submit(task, *args, **kwargs)
        future.add_done_callback(lambda finished: self._events.put(lambda: self._handle(done, finished)))

    def post(self, event: Callable[[], None]) -> None:
        """Have the handling thread call `event`, from any thread."""
        self._events.put(event)

    def drain(self) -> None:
        """Handle results until no task is left, those included that handling has submitted."""
        self.run_until(lambda: self._outstanding == 0)

    def run_until(self, is_over: Callable[[], bool]) -> None:
        """Handle events until `is_over`, which is asked after each."""
        while not is_over():
            self._events.get()()

    @property
    def is_idle(self) -> bool:
        """Whether no task is outstanding."""
        return self._outstanding == 0

    def _handle(self, done: Callable[[R], None], future: Future[R]) -> None:
        with self._lock:
            self._outstanding -= 1
        try:
            result = future.result()
        except (BrokenProcessPool, CancelledError) as error:
            raise worker_died() from error
        done(result)


class Batch(Generic[S, I]):
    """Items for one kind of task, sent off in batches."""

    def __init__(
        self, tasks: TaskQueue[S], size: int, task: Callable[[S, list[I]], R], done: Callable[[list[I], R], None]
    ) -> None:
        self._items: list[I] = []
        self._size = size

        def send(items: list[I]) -> None:
            tasks.submit(lambda result: done(items, result), task, items)

        self._send = send

    def add(self, item: I) -> None:
        """One more item; a full batch is sent off."""
        self._items.append(item)
        if len(self._items) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Send off what is there."""
        if self._items:
            items, self._items = self._items, []
            self._send(items)
