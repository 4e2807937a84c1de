"""The base of every backend around a backend: all calls pass through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from limpet.contracts.backend import Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import UsageError


class WrappingBackend(Backend):
    """Does what `inner` does; a subclass overrides the calls it is about."""

    contract_version: ClassVar[int] = 1

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def properties(self) -> BackendProperties:  # type: ignore[override]  # of some they are known once connected
        return self.inner.properties

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """UsageError always: a wrapper is put around an open backend, it has no location of its own."""
        raise UsageError(f"{cls.__name__} wraps another backend and cannot be opened by itself")

    @property
    def location(self) -> str:
        return self.inner.location

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def interrupt(self) -> None:
        """End every wait in here and further in: a run that was told to stop must not sit out a pause.

        Calls go on to work, but fail where they would have to wait.
        """
        if isinstance(self.inner, WrappingBackend):
            self.inner.interrupt()

    def create(self) -> None:
        self.inner.create()

    def save(self, handle: Handle, content: Content) -> None:
        self.inner.save(handle, content)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        return self.inner.load(handle, offset_bytes, length_bytes)

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        self.inner.load_into(handle, offset_bytes, buffer)

    def stat(self, handle: Handle) -> FileInfo:
        return self.inner.stat(handle)

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        return self.inner.list(kind)

    def remove(self, handle: Handle) -> None:
        self.inner.remove(handle)

    def sweep(self) -> int:
        return self.inner.sweep()

    def delete(self) -> None:
        self.inner.delete()

    def close(self) -> None:
        self.inner.close()
