"""Worker processes that compute on shared buffers, while one process alone talks to the storage.

The hot work (hashing, compressing, sealing and their reverse) holds Python's interpreter lock too often for
threads to scale, so it runs in forked processes. The parent loads from and saves to the backend, and hands
data over in memory that both sides map: nothing large is ever pickled. Where a system cannot fork, or with
`LIMPET_THREADS=1`, the same tasks run in threads.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast

from limpet.errors import LimpetError
from limpet.repository.shield import HeldSignals

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


MANAGER_END_S = 5.0
"""So long the end of a run that is given up waits for the thread that looks after the workers."""


class BuffersClosedError(LimpetError):
    """The run is being given up: nobody will release a buffer any more."""


class SharedBuffers:
    """A fixed number of page-aligned buffers that forked workers share. Untouched pages cost no memory."""

    def __init__(self, count: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._maps = [mmap.mmap(-1, size_bytes) for _ in range(count)]
        self._views = [memoryview(m) for m in self._maps]
        # Last in, first out: a buffer whose pages are there already is used again first.
        self._free = list(range(count))[::-1]
        self._changed = threading.Condition()
        self._closed = False

    def acquire(self) -> int:
        """The number of a buffer that is now ours; waits for one. BuffersClosedError after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                raise BuffersClosedError("the run was stopped")
            return self._free.pop()

    def release(self, number: int) -> None:
        """Give the buffer back."""
        with self._changed:
            self._free.append(number)
            self._changed.notify()

    def view(self, number: int) -> memoryview:
        """The whole buffer, in any process that was forked after it was made."""
        return self._views[number]

    def discard(self) -> None:
        """Give the memory back to the system although the buffers may be referred to: what was in them is gone."""
        if hasattr(mmap, "MADV_REMOVE"):
            for one in self._maps:
                with suppress(OSError):  # a kernel or a mapping that does not know how
                    one.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Wake everybody who waits for a buffer, with an error. The memory goes with the last view."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Workers(Generic[S]):
    """Runs tasks on worker processes that each hold one state.

    `make_state()` is called once in every worker; what it refers to is inherited by the fork, not copied.
    """

    def __init__(self, make_state: Callable[[], S], count: int | None = None) -> None:
        self.count = count or usable_cpus()
        self._executor: Executor
        if can_fork():
            # What lives now is shared with the children until somebody writes to it: keep the collector off it. What
            # was kept from it for earlier workers may be garbage by now, that holds pipes.
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            context = multiprocessing.get_context("fork")
            barrier: _Barrier = context.Barrier(self.count)
            self._executor = ProcessPoolExecutor(
                self.count, context, initializer=_start_process, initargs=(make_state, barrier, os.getpid())
            )
        else:
            barrier = threading.Barrier(self.count)
            self._executor = ThreadPoolExecutor(
                self.count, "limpet-worker", initializer=_start_worker, initargs=(make_state, barrier)
            )
        # The first task forks all workers: now, before the caller starts threads of its own. Ctrl-C waits for it: an
        # executor with workers and no thread that ends them would hold the interpreter at its exit.
        try:
            with HeldSignals():
                first = self._executor.submit(_nothing)
                self._watch()
                first.result()
        except BrokenExecutor as error:
            raise worker_died() from error

    def _watch(self) -> None:
        """See to it that the workers end together, for a worker that is killed may hold a queue's lock for ever.

        The executor ends the others only where it notices before it is shut down, and by SIGTERM, which is the
        parent's affair.
        """
        children = list((getattr(self._executor, "_processes", None) or {}).values())
        if children:
            threading.Thread(target=_end_together, args=(children,), name="limpet-watch", daemon=True).start()

    def submit(self, task: Callable[Concatenate[S, P], R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """`task(state, *args)` in some worker. The task is a module-level function, its arguments plain data."""
        try:
            return self._executor.submit(_call, task, args, kwargs)
        except BrokenProcessPool as error:
            raise worker_died() from error

    def on_each(self, task: Callable[[S], R]) -> list[R]:
        """`task(state)` once in every worker, after all that was submitted before."""
        try:
            futures = [self._executor.submit(_call_together, task) for _ in range(self.count)]
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise worker_died() from error

    def close(self) -> None:
        """Wait for the tasks in work and end the workers; tasks not begun are dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def kill(self) -> None:
        """End the workers now, whatever they are doing (threads: after their task)."""
        children = getattr(self._executor, "_processes", None) or {}
        manager = getattr(self._executor, "_executor_manager_thread", None)
        for child in list(children.values()):
            child.kill()
        results = getattr(self._executor, "_result_queue", None)
        if results is not None:
            # A worker may have died in the middle of a result. Ours is now the last end of the pipe that the rest could
            # come from: while it is open, the thread that reads results waits for that rest.
            results._writer.close()
        tasks = getattr(self._executor, "_call_queue", None)
        if tasks is not None:
            # A large task may be on its way into a pipe that nobody will read: nobody waits for that either. Before
            # Python 3.11.5 the interpreter would, for ever (python issue 94777).
            tasks.cancel_join_thread()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if manager is not None:
            # It ends by itself now. If the interpreter ended at that moment, both would close the same pipe, and the
            # later one would print a traceback.
            manager.join(timeout=MANAGER_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()


def can_fork() -> bool:
    """Whether worker processes can be forked here. macOS can, but its system libraries do not survive it."""
    return hasattr(os, "fork") and sys.platform != "darwin" and os.environ.get("LIMPET_THREADS") != "1"


def usable_cpus() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_died() -> LimpetError:
    """The error for a worker that ended by itself."""
    return LimpetError("a worker process died (killed, or out of memory?): the run cannot go on")


_Barrier = threading.Barrier
_worker = threading.local()


def _start_process(make_state: Callable[[], object], barrier: _Barrier, parent_id: int) -> None:
    from limpet.format import native  # noqa: PLC0415 - heavy, and needed here only

    # Ctrl-C reaches the whole process group, and SIGTERM all of a service; the parent decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    native.die_with_parent()
    if os.getppid() != parent_id:
        os._exit(1)  # it was gone before it could be asked for
    native.keep_freed_memory()
    gc.freeze()
    _start_worker(make_state, barrier)


def _end_together(children: Sequence[BaseProcess]) -> None:
    """Return when all have ended; once one has not done so by itself, the others are killed."""
    left = {child.sentinel: child for child in children}
    while left:
        for sentinel in multiprocessing.connection.wait(list(left)):
            child = left.pop(cast("int", sentinel))
            child.join()
            if child.exitcode != 0:
                for other in left.values():
                    other.kill()


def _start_worker(make_state: Callable[[], object], barrier: _Barrier) -> None:
    _worker.state = make_state()
    _worker.barrier = barrier


def _call(task: Callable[..., R], args: Sequence[Any], kwargs: Mapping[str, Any]) -> R:
    return task(_worker.state, *args, **kwargs)


def _call_together(task: Callable[[Any], R]) -> R:
    # Nobody passes before every worker has one of these tasks, so each worker gets exactly one.
    _worker.barrier.wait()
    return task(_worker.state)


def _nothing() -> None:
    return
