"""One upload on its way to a backend: in a temporary file without a name, hashed while it arrives."""

from __future__ import annotations

import mmap
import tempfile
from types import TracebackType
from typing import IO, Self

from limpet.contracts.backend import Content
from limpet.format.native import Sha256


class Spool:
    """A file that nobody else sees and that is gone with the process, however it ends. OSError where the disk is full.

    What is in it was encrypted by the client.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(  # noqa: SIM115  # closed by `close`
            buffering=0, prefix="limpet-serve-", dir=folder
        )
        self._hash = Sha256()
        self._map: mmap.mmap | None = None
        self.size_bytes = 0

    def write(self, piece: memoryview | bytes) -> None:
        """The next bytes."""
        left = memoryview(piece)
        self._hash.update(left)
        self.size_bytes += len(left)
        while left:
            left = left[self._file.write(left) :]

    def digest(self) -> bytes:
        """The SHA-256 of all that was written."""
        return self._hash.digest()

    def content(self) -> Content:
        """All of it, to be saved before `close`; it stays on disk, whatever reads it."""
        if not self.size_bytes:
            return Content(memoryview(b""), self.digest())
        if self._map is None:
            self._map = mmap.mmap(self._file.fileno(), self.size_bytes, access=mmap.ACCESS_READ)
        return Content(memoryview(self._map), self.digest())

    def close(self) -> None:
        """Give the room back. Idempotent."""
        self._file.close()
        self._map = None  # closed with its last view: a backend that gave up a call may still look into it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
