"""The contract of a backend: a flat store of whole files, by kind and name.

Thread-safe. `BackendError` (transient or permanent), with `MissingFileError` and `StorageFullError` among it, is the
only error that may escape. Retry, rate limit, cache and freezing live in wrappers around a backend, never inside one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Self

from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError

BACKEND_CONTRACT = 1
"""Version of this contract; a plugin states the one it was written for."""


class FileKind(Enum):
    """The kinds of files in a repository; the value is restic's folder name."""

    CONFIG = "config"
    KEY = "keys"
    LOCK = "locks"
    SNAPSHOT = "snapshots"
    INDEX = "index"
    PACK = "data"


@dataclass(frozen=True, slots=True)
class Handle:
    """Names one stored file. `name` is 64 hex digits; empty for the config.

    `is_tree_pack` is a hint to the cache and takes no part in equality.
    """

    kind: FileKind
    name: str = ""
    is_tree_pack: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        return self.kind.value if self.kind is FileKind.CONFIG else f"{self.kind.value}/{self.name}"


CONFIG_HANDLE = Handle(FileKind.CONFIG)


@dataclass(frozen=True, slots=True)
class Content:
    """The whole content of a file to save: re-readable, with its SHA-256 already known."""

    data: memoryview
    sha256: bytes

    @property
    def size_bytes(self) -> int:
        return self.data.nbytes


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One entry of a listing."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BackendProperties:
    """What the core has to know about a store to use it well."""

    connections: int = 5
    """How many calls at once pay off."""
    atomic_replace: bool = False
    """Whether saving over an existing file replaces it in one step."""
    needs_watchdog: bool = False
    """Whether calls must be given up from outside when they hang: for a client library that knows no time limit."""


class Backend(ABC):
    """A place where files are kept. One instance serves many threads."""

    contract_version: ClassVar[int] = BACKEND_CONTRACT
    options: ClassVar[Sequence[Option]] = ()
    properties: BackendProperties = BackendProperties()

    @classmethod
    @abstractmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """A backend for `location` (what follows `scheme:`), whether or not a repository is there yet.

        `transport` says how to talk to a server; without one it is ignored.
        UsageError where the location or an option makes no sense. Secrets must not show in `repr`.
        """

    @classmethod
    def below(cls, location: str, name: str) -> str:
        """The location of a place called `name` inside `location`. Override where another character divides the two."""
        return f"{location}{name}" if location.endswith((":", "/")) else f"{location}/{name}"

    @property
    @abstractmethod
    def location(self) -> str:
        """The full location with its scheme, secrets removed, as shown to people."""

    @abstractmethod
    def create(self) -> None:
        """Make the store ready for a new repository: folders, bucket, container. Idempotent."""

    @abstractmethod
    def save(self, handle: Handle, content: Content) -> None:
        """Store the whole content durably under the handle, or nothing at all.

        A file that already exists is replaced if `properties.atomic_replace`, else BackendError (permanent).
        StorageFullError where there is no room, as far as the store tells that.
        """

    @abstractmethod
    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        """The bytes of the range; all from the offset on without a length.

        Exactly `length_bytes` bytes or an error: a range beyond the end is a permanent BackendError.
        """

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        """Fill the whole `buffer` from the offset on; errors as `load`. Override where a copy can be saved."""
        data = self.load(handle, offset_bytes, buffer.nbytes)
        if len(data) != buffer.nbytes:
            raise BackendError(f"{handle}: {len(data)} bytes came where {buffer.nbytes} were asked for")
        buffer[:] = data

    @abstractmethod
    def stat(self, handle: Handle) -> FileInfo:
        """Name and size; MissingFileError if there is no such file."""

    @abstractmethod
    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        """Each file of the kind once, in any order; names that are no ids are left out. Not for CONFIG.

        Files that appear or vanish meanwhile may or may not be listed; all others are.
        """

    @abstractmethod
    def remove(self, handle: Handle) -> None:
        """Remove the file; MissingFileError if there is none."""

    def sweep(self) -> int:
        """Remove what saves that broke off have left of packs, indexes and snapshots; how many files that were.

        Only called while nobody else writes. Override where a broken-off save leaves anything.
        """
        return 0

    @abstractmethod
    def delete(self) -> None:
        """Remove the whole repository and its folders; nothing that a repository does not own."""

    @abstractmethod
    def close(self) -> None:
        """Release connections. Idempotent."""
