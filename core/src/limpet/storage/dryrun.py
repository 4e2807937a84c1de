"""A backend that reads and pretends to write: `--dry-run`."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from limpet.contracts.backend import Backend, Content, FileKind, Handle
from limpet.storage.wrapping import WrappingBackend


@dataclass(slots=True)
class Dropped:
    """What would have been written of one kind."""

    files: int = 0
    size_bytes: int = 0


class DryRunBackend(WrappingBackend):
    """Reads go through; saves and removals are counted and dropped."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.saved = {kind: Dropped() for kind in FileKind}
        self.removed = dict.fromkeys(FileKind, 0)
        self._lock = threading.Lock()

    def create(self) -> None:
        return

    def save(self, handle: Handle, content: Content) -> None:
        with self._lock:
            dropped = self.saved[handle.kind]
            dropped.files += 1
            dropped.size_bytes += content.size_bytes

    def remove(self, handle: Handle) -> None:
        with self._lock:
            self.removed[handle.kind] += 1

    def sweep(self) -> int:
        return 0

    def delete(self) -> None:
        return
