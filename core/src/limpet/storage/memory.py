"""The reference backend: files in this process's memory, gone with it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import ClassVar, Self

from limpet.contracts.backend import Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError
from limpet.ids import is_hex_id


class MemoryBackend(Backend):
    """Keeps each file as bytes by its handle. Stricter than most: content must match its SHA-256."""

    contract_version: ClassVar[int] = 1

    def __init__(self, *, atomic_replace: bool = True) -> None:
        self.properties = BackendProperties(connections=4, atomic_replace=atomic_replace)
        self.files: dict[Handle, bytes] = {}
        """The back door for tests: what is stored, free to damage."""
        self._lock = threading.Lock()

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """An empty store; the location only has to be there for the contract's sake."""
        return cls()

    @property
    def location(self) -> str:
        return "memory:"

    def __repr__(self) -> str:
        return f"MemoryBackend({len(self.files)} files)"

    def create(self) -> None:
        return

    def save(self, handle: Handle, content: Content) -> None:
        _check_name(handle)
        data = bytes(content.data)
        if hashlib.sha256(data).digest() != content.sha256:
            raise BackendError(f"{handle}: the content does not have the SHA-256 it came with", permanent=True)
        with self._lock:
            if handle in self.files and not self.properties.atomic_replace:
                raise BackendError(f"{handle}: there is such a file already", permanent=True)
            self.files[handle] = data

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        data = self._file(handle)
        end = len(data) if length_bytes is None else offset_bytes + length_bytes
        if not 0 <= offset_bytes <= end <= len(data):
            raise BackendError(
                f"{handle}: the bytes {offset_bytes} to {end} were asked for, it has {len(data)}", permanent=True
            )
        return data[offset_bytes:end]

    def stat(self, handle: Handle) -> FileInfo:
        return FileInfo(handle.name, len(self._file(handle)))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        with self._lock:
            found = [FileInfo(handle.name, len(data)) for handle, data in self.files.items() if handle.kind is kind]
        return (info for info in found if is_hex_id(info.name))

    def remove(self, handle: Handle) -> None:
        _check_name(handle)
        with self._lock:
            if self.files.pop(handle, None) is None:
                raise MissingFileError(f"{handle}: no such file in memory")

    def delete(self) -> None:
        with self._lock:
            self.files.clear()

    def close(self) -> None:
        return

    def _file(self, handle: Handle) -> bytes:
        _check_name(handle)
        with self._lock:
            data = self.files.get(handle)
        if data is None:
            raise MissingFileError(f"{handle}: no such file in memory")
        return data


def _check_name(handle: Handle) -> None:
    if handle.kind is FileKind.CONFIG:
        if handle.name:
            raise BackendError(f"the config has no name, not {handle.name!r}", permanent=True)
    elif not is_hex_id(handle.name):
        raise BackendError(f"not the name of a file in a repository: {handle.name!r}", permanent=True)
