"""A backend inside a fence: what it raises or returns beyond its contract is a permanent error that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from limpet.contracts.backend import Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import BackendError
from limpet.registry.plugin_calls import plugin_calls
from limpet.storage.wrapping import WrappingBackend

T = TypeVar("T")
PAGE_FILES = 256
"""So many at once come out of a listing: going in and out takes longer than a name."""


class ContainedBackend(WrappingBackend):
    """Calls of one plugin."""

    def __init__(self, name: str, inner: Backend) -> None:
        super().__init__(inner)
        self._name = f"the backend plugin {name!r}"

    def create(self) -> None:
        self._ask("create", super().create)

    def save(self, handle: Handle, content: Content) -> None:
        self._ask(f"save {handle}", lambda: self.inner.save(handle, content))

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        what = f"load {handle}"
        data = self._ask(what, lambda: self.inner.load(handle, offset_bytes, length_bytes))
        if not isinstance(data, bytes):
            raise self._nonsense(what, data)
        return data

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        self._ask(f"load {handle}", lambda: self.inner.load_into(handle, offset_bytes, buffer))

    def stat(self, handle: Handle) -> FileInfo:
        return self._info(f"stat {handle}", self._ask(f"stat {handle}", lambda: self.inner.stat(handle)))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        what = f"list {kind.value}"
        listing = self._ask(what, lambda: iter(self.inner.list(kind)))
        while page := self._ask(what, lambda: list(islice(listing, PAGE_FILES))):
            for info in page:
                yield self._info(what, info)

    def remove(self, handle: Handle) -> None:
        self._ask(f"remove {handle}", lambda: self.inner.remove(handle))

    def sweep(self) -> int:
        return self._ask("sweep", self.inner.sweep)

    def delete(self) -> None:
        self._ask("delete", self.inner.delete)

    def close(self) -> None:
        self._ask("close", self.inner.close)

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        with plugin_calls.during(self._name, what, _permanent):
            return call()

    def _info(self, what: str, info: object) -> FileInfo:
        if not isinstance(info, FileInfo):
            raise self._nonsense(what, info)
        return info

    def _nonsense(self, what: str, found: object) -> BackendError:
        return _permanent(f"{self._name} gives nonsense for {what}: {found!r:.100}")


def _permanent(message: str) -> BackendError:
    return BackendError(message, permanent=True)
