"""Reads and renders portions: threads read ahead, worker processes render, in order comes out what is to be written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import orjson

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.dump.archive import ArchiveWriter
from limpet.operations.dump.portions import Begin, Blobs, Content, End, SmallEntries, Step
from limpet.operations.dump.tasks import (
    BUFFER_BYTES,
    SEALED_BYTES,
    DumpWorker,
    EntryTask,
    Rendered,
    SealedBlob,
    render,
)
from limpet.repository.repository import Repository
from limpet.repository.workers import SharedBuffers, Workers, usable_cpus

SPARE_BUFFERS = 2
"""One is read into and one written from while every worker has one."""


class Writable(Protocol):
    """Where a dump goes: anything that takes bytes."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of the bytes, which may change when the call is over."""


@dataclass(slots=True)
class _Waiting:
    """A portion that is on its way, and the buffer that it is in."""

    rendered: Future[Rendered]
    buffer: int


class Pipeline:
    """Takes steps and gives what they stand for; a context manager, which ends the workers."""

    def __init__(self, repository: Repository, writer: ArchiveWriter) -> None:
        self._repository = repository
        self._writer = writer
        cpus = usable_cpus()
        count = cpus + SPARE_BUFFERS
        self._buffers = SharedBuffers(count, BUFFER_BYTES)
        self._free = list(range(count))
        self._waiting: deque[_Waiting | Begin | End] = deque()
        key, buffers, rendering = repository.key, self._buffers, writer.rendering
        self._workers = Workers(lambda: DumpWorker(key, buffers, rendering), cpus)
        self._threads = ThreadPoolExecutor(count, "limpet-dump")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._workers.__exit__(kind, error, trace)
        self._threads.shutdown(wait=error is None)

    def pieces(self, steps: Iterable[Step]) -> Iterator[bytes | memoryview]:
        """What the steps stand for, each piece valid until the next is asked for. Errors as `Repository.load_blob`."""
        try:
            for step in steps:
                if isinstance(step, Begin | End):
                    self._waiting.append(step)
                    continue
                while not self._free:
                    yield from self._next()
                buffer = self._free.pop()
                self._waiting.append(_Waiting(self._threads.submit(self._render, step, buffer), buffer))
            while self._waiting:
                yield from self._next()
        finally:
            self._drop_waiting()

    def _next(self) -> Iterator[bytes | memoryview]:
        step = self._waiting[0]
        if isinstance(step, Begin):
            yield self._writer.begin(step.entry)
        elif isinstance(step, End):
            yield self._writer.end()
        else:
            rendered = step.rendered.result()
            self._writer.wholes(rendered.records)
            if rendered.parts:
                self._writer.parts(rendered.parts)
            view = self._buffers.view(step.buffer)
            data = rendered.data
            yield view[SEALED_BYTES : SEALED_BYTES + rendered.size_bytes] if data is None else data
            self._free.append(step.buffer)
        self._waiting.popleft()

    def _drop_waiting(self) -> None:
        """Nobody wants the rest: its buffers are free as soon as nothing is written to them any more."""
        for step in self._waiting:
            if isinstance(step, _Waiting):
                step.rendered.cancel() or wait([step.rendered])
                self._free.append(step.buffer)
        self._waiting.clear()

    # -- in the threads -----------------------------------------------------------------------------------------

    def _render(self, step: SmallEntries | Content, buffer: int) -> Rendered:
        blobs, given = self._read(step.blobs, buffer)
        task = _entry_task(step) if isinstance(step, SmallEntries) else step.numbers
        rendered = self._workers.submit(render, buffer, blobs, given, task).result()
        if not rendered.damaged:
            return rendered
        # Perhaps the transfer went wrong, or there is another copy.
        repaired = {number: self._load(BlobId(blobs[number][3])) for number in rendered.damaged}
        return self._workers.submit(render, buffer, blobs, {**given, **repaired}, task).result()

    def _read(self, blobs: Blobs, buffer: int) -> tuple[list[SealedBlob], Mapping[int, bytes]]:
        """Bring the blobs into the buffer; those that cannot be read there are returned as plaintexts."""
        ids = list(blobs.numbers)
        sealed: list[SealedBlob] = [(0, 0, 0, blob_id) for blob_id in ids]
        given: dict[int, bytes] = {}
        view = self._buffers.view(buffer)
        position = 0
        for one in blobs.ranges():
            end = position + one.length_bytes
            try:
                if end > SEALED_BYTES:
                    raise BackendError("larger than any blob that restic makes", permanent=True)
                handle = Handle(FileKind.PACK, one.pack_id.hex())
                self._repository.backend.load_into(handle, one.offset_bytes, view[position:end])
            except BackendError:
                given.update((number, self._load(ids[number])) for number in one.blobs)
                continue
            for number in one.blobs:
                _, offset, length, plain_length = blobs.places[number]
                sealed[number] = (position + offset - one.offset_bytes, length, plain_length, ids[number])
            position = end
        return sealed, given

    def _load(self, blob_id: BlobId) -> bytes:
        return self._repository.load_blob(BlobKind.DATA, blob_id)


def _entry_task(step: SmallEntries) -> EntryTask:
    return EntryTask(
        b"\0".join(entry.path for entry, _ in step.entries),
        orjson.dumps([entry.fields for entry, _ in step.entries]),
        [numbers for _, numbers in step.entries],
    )
