"""The hashes of whole packs, two packs at a time: that takes the processor little longer than one."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from limpet.format.native import Sha256


@dataclass(frozen=True, slots=True)
class _Part:
    stream: Sha256
    data: memoryview
    appended: Future[None] = field(default_factory=Future)


class PackHasher:
    """Appends to streams in threads of its own, and takes two that wait together. Ends with the context."""

    def __init__(self, threads: int) -> None:
        self._parts: queue.SimpleQueue[_Part | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def append(self, stream: Sha256, data: memoryview) -> Future[None]:
        """Done once the data is in the stream, which nobody may use until then."""
        part = _Part(stream, data)
        self._parts.put(part)
        return part.appended

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._parts.put(None)

    def _work(self) -> None:
        while (part := self._parts.get()) is not None:
            try:
                other = self._parts.get_nowait()
            except queue.Empty:
                other = None
            else:
                if other is None:  # the end is meant for one thread, and comes after this part
                    self._parts.put(None)
            _append(part, other)


def _append(part: _Part, other: _Part | None) -> None:
    try:
        if other is None:
            part.stream.update(part.data)
        else:
            part.stream.update_with(part.data, other.stream, other.data)
    except BaseException as error:  # for the threads that wait
        part.appended.set_exception(error)
        if other is not None:
            other.appended.set_exception(error)
        return
    part.appended.set_result(None)
    if other is not None:
        other.appended.set_result(None)
