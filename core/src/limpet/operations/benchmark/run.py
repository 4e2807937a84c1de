"""Measures a storage in a place of its own: single calls, then large files and small reads over many connections.

What is saved looks like packs: random bytes under the SHA-256 of their content. All of it is removed at the end.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileKind, Handle
from limpet.errors import MissingFileError, UsageError
from limpet.operations.benchmark.results import MIB, BenchmarkResult, CallTime, Load
from limpet.operations.emptiness import require_empty
from limpet.progress import Progress, Reporter, SilentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

SMALL_BYTES = 1024
TRIES = 10
"""How often each single call is timed."""
SMALLEST_LARGE_BYTES = 256 * 1024

OpenWith = Callable[[int], Backend]
"""Opens the storage with so many connections."""


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """How far a benchmark goes: for each number of connections it takes about three times `seconds`."""

    most_connections: int = 16
    seconds: float = 2.0
    most_bytes: int = 128 * MIB
    """What is uploaded at most for each number of connections, and what the buffers take."""


def benchmark(
    open_with: OpenWith, options: BenchmarkOptions | None = None, reporter: Reporter | None = None
) -> BenchmarkResult:
    """How quick the storage is that `open_with` opens: it has to be empty, and is deleted afterwards.

    UsageError if there is anything in it, or an option makes no sense; BackendError if the storage fails.
    """
    options = options or BenchmarkOptions()
    _verify(options)
    reporter = reporter or SilentReporter()
    levels = _levels(options.most_connections)
    with _scratch(open_with) as backend, _progress(reporter, len(levels) + 1) as progress:
        calls, rate_bps = _single_calls(backend)
        progress.files_done += 1
        size_bytes = _large_size(rate_bps, options)
        loads = []
        for connections in levels:
            loads.append(_load(open_with, connections, size_bytes, options))
            progress.files_done += 1
    return BenchmarkResult(calls, loads)


def _verify(options: BenchmarkOptions) -> None:
    if options.most_connections < 1:
        raise UsageError(f"the number of connections must be 1 or more, not {options.most_connections}")
    if options.seconds <= 0:
        raise UsageError(f"the time of a measurement must be above 0, not {options.seconds}")
    if options.most_bytes < SMALLEST_LARGE_BYTES * options.most_connections:
        least = SMALLEST_LARGE_BYTES * options.most_connections
        raise UsageError(f"{options.most_connections} connections cannot be measured with fewer than {least} bytes")


def _levels(most: int) -> Sequence[int]:
    """1, 2, 4, ... and the most."""
    return [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]


@contextmanager
def _scratch(open_with: OpenWith) -> Iterator[Backend]:
    """The storage, made and empty; deleted afterwards, whatever happens."""
    backend = open_with(1)
    try:
        require_empty(backend, "a benchmark")
        backend.create()
        try:
            yield backend
        finally:
            backend.delete()
    finally:
        backend.close()


@contextmanager
def _progress(reporter: Reporter, steps: int) -> Iterator[Progress]:
    progress = Progress("measurements", files_total=steps, is_counter=True)
    reporter.begin(progress)
    try:
        yield progress
    finally:
        reporter.end()


def _single_calls(backend: Backend) -> tuple[Sequence[CallTime], float]:
    """The time of each call, and the bytes a second of one upload of a MiB."""
    files = [_File(SMALL_BYTES) for _ in range(TRIES)]
    _time("save", [files[0].saver(backend)])  # the first call opens the connection
    backend.remove(files[0].handle)
    calls = [
        _time("save", [file.saver(backend) for file in files]),
        _time("stat", [partial(backend.stat, file.handle) for file in files]),
        _time("load", [partial(backend.load, file.handle) for file in files]),
        _time("list", [lambda: list(backend.list(FileKind.PACK)) for _ in files]),
        _time("remove", [partial(backend.remove, file.handle) for file in files]),
    ]
    large = _File(MIB)
    took_s = _time("save", [large.saver(backend)]).worst_s
    backend.remove(large.handle)
    return calls, MIB / took_s


def _time(name: str, calls: Sequence[Callable[[], object]]) -> CallTime:
    times_s = []
    for call in calls:
        started = time.perf_counter()
        call()
        times_s.append(time.perf_counter() - started)
    return CallTime(name, statistics.median(times_s), max(times_s))


def _large_size(rate_bps: float, options: BenchmarkOptions) -> int:
    """Large enough to be a pack, small enough for a few of them in the time there is."""
    wanted = int(rate_bps * options.seconds / 4)
    return max(SMALLEST_LARGE_BYTES, min(wanted, 16 * MIB, options.most_bytes // options.most_connections))


def _load(open_with: OpenWith, connections: int, size_bytes: int, options: BenchmarkOptions) -> Load:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # no other use of the library needs it

    backend = open_with(connections)
    try:
        with ThreadPoolExecutor(connections) as pool:
            crew = _Crew(backend, pool, connections, size_bytes, options)
            crew.connect()
            return Load(connections, crew.upload(), crew.download(), crew.read_small())
    finally:
        backend.close()


class _File:
    """Random content that can become other random content without being made anew."""

    def __init__(self, size_bytes: int) -> None:
        self._data = bytearray(os.urandom(size_bytes))
        self.change()

    def change(self) -> None:
        """Be another file."""
        self._data[:16] = os.urandom(16)
        self.sha256 = hashlib.sha256(self._data).digest()
        self.handle = Handle(FileKind.PACK, self.sha256.hex())

    def saver(self, backend: Backend) -> Callable[[], None]:
        """The call that saves it."""
        return lambda: backend.save(self.handle, Content(memoryview(self._data), self.sha256))


class _Crew:
    """Threads that do one thing at a time for as long as they are told to; each has at least one turn."""

    def __init__(
        self, backend: Backend, pool: Executor, connections: int, size_bytes: int, options: BenchmarkOptions
    ) -> None:
        self._backend = backend
        self._pool = pool
        self._connections = connections
        self._size_bytes = size_bytes
        self._seconds = options.seconds
        self._most_turns = max(1, options.most_bytes // size_bytes // connections)
        self._saved: list[Handle] = []

    def connect(self) -> None:
        """Have every connection open: to log in takes its time, once."""

        def look(_number: int) -> None:
            with suppress(MissingFileError):
                self._backend.stat(CONFIG_HANDLE)

        list(self._pool.map(look, range(self._connections)))

    def upload(self) -> float:
        """Bytes a second of large files."""
        files = [_File(self._size_bytes) for _ in range(self._connections)]

        def turn(number: int) -> None:
            files[number].change()
            files[number].saver(self._backend)()
            self._saved.append(files[number].handle)

        return self._turns_per_s(turn, self._most_turns) * self._size_bytes

    def download(self) -> float:
        """Bytes a second of the large files there are."""
        buffers = [bytearray(self._size_bytes) for _ in range(self._connections)]

        def turn(number: int) -> None:
            self._backend.load_into(random.choice(self._saved), 0, memoryview(buffers[number]))

        return self._turns_per_s(turn) * self._size_bytes

    def read_small(self) -> float:
        """Small reads a second, anywhere in the large files. They are removed then."""

        def turn(_number: int) -> None:
            offset_bytes = random.randrange(self._size_bytes - SMALL_BYTES)
            self._backend.load(random.choice(self._saved), offset_bytes, SMALL_BYTES)

        rate = self._turns_per_s(turn)
        list(self._pool.map(self._backend.remove, self._saved))
        return rate

    def _turns_per_s(self, turn: Callable[[int], None], most_turns: int | None = None) -> float:
        started = time.perf_counter()

        def work(number: int) -> int:
            turns = 0
            while True:
                turn(number)
                turns += 1
                if turns == most_turns or time.perf_counter() - started >= self._seconds:
                    return turns

        turns = sum(self._pool.map(work, range(self._connections)))
        return turns / (time.perf_counter() - started)
