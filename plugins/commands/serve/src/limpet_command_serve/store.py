"""The storage side of the server: what a store of repositories does. Synchronous and thread-safe.

Every method but `open_cached` is called from a worker thread of the server, so it may block; an upload or a reading is
used by one thread at a time. Errors: MissingFileError where there is no such file or repository,
NoSpaceError where nothing more fits in, BehindError of a gateway, BackendError for everything else (answered 500 and
told in the log).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Self

from limpet.contracts.backend import FileInfo, FileKind
from limpet.errors import BackendError

from limpet_command_serve.names import Folders, StoredFile


class NoSpaceError(BackendError):
    """The disk, or what the storage grants us, is full; always permanent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class BehindError(BackendError):
    """The storage behind a gateway refuses (permanent, answered 502) or does not answer for now (503)."""


class Outcome(Enum):
    """How an upload ended."""

    STORED = "stored"
    SAME = "same"
    """The file was there already, with the same bytes."""
    OTHER = "other"
    """The file was there already, with other bytes; it stays as it was."""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What is known of a stored file; `stored_s` is when the server stored it, in seconds of Unix time."""

    size_bytes: int
    stored_s: float


@dataclass(frozen=True, slots=True)
class Removal:
    """The size of a file that was removed, and how much room came back: none where it is kept aside."""

    size_bytes: int
    freed_bytes: int


class Reading(ABC):
    """One open file. Read piece by piece, and closed whatever happens."""

    size_bytes: int
    descriptor: int | None = None
    """A regular file's descriptor, if `sendfile` may be used in place of `read_into`."""

    def expect(self, offset_bytes: int, length_bytes: int) -> None:  # noqa: B027  # a hint, most need none
        """The range that is going to be read, from its start on: what is far away can be fetched ahead."""

    @abstractmethod
    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        """Fill the buffer from the offset on, as far as it comes at once: bytes read, 0 at the end of the file."""

    def read_cached(self, offset_bytes: int, buffer: memoryview) -> bool:
        """Fill the whole buffer if that takes no wait. Also on the event loop."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Let go of the file. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upload(ABC):
    """One file on its way in. Nothing of it can be seen before `commit`, nor is anything left without it."""

    takes_room: bool = True
    """False where nothing will be stored, for the file is there: no quota stands against that."""

    @abstractmethod
    def write(self, data: memoryview) -> None:
        """Take the next bytes; they are the caller's again afterwards."""

    @abstractmethod
    def commit(self) -> Outcome:
        """Make the file durable and visible under its name, unless there is one already: that is never replaced."""

    @abstractmethod
    def close(self) -> None:
        """Without `commit` before: leave nothing behind. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Store(ABC):
    """Repositories below one root."""

    @abstractmethod
    def create(self, folders: Folders) -> None:
        """Make the folders of a repository. Idempotent."""

    @abstractmethod
    def list(self, folders: Folders, kind: FileKind) -> Iterable[FileInfo]:
        """Each file of the kind once; only names that are ids. MissingFileError without such a repository."""

    @abstractmethod
    def stat(self, file: StoredFile) -> FileStatus:
        """Size and time of the file."""

    @abstractmethod
    def open(self, file: StoredFile) -> Reading:
        """The file, to be read."""

    def open_cached(self, file: StoredFile) -> Reading | None:
        """Likewise if that takes no wait, on the event loop; None where it would, or where there is none."""
        return None

    @abstractmethod
    def begin(self, file: StoredFile, size_bytes: int | None) -> Upload:
        """An upload of the file, with its size if the client says it. Also where the file is there: see `Outcome`."""

    @abstractmethod
    def remove(self, file: StoredFile) -> Removal:
        """Remove the file."""

    def sweep(self) -> int:
        """Remove what uploads have left that never ended, before the server serves: how many those were."""
        return 0

    def close(self) -> None:
        """Release everything. Idempotent."""
        return
