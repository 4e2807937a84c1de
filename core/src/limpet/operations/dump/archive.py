"""What an archive format has to say: how workers render entries, and what the parent writes between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from limpet.format import Buffer
from limpet.format.fields import Fields
from limpet.operations.dump.entries import Entry


class Whole(NamedTuple):
    """An entry with its content, and what the archive's directory needs to know of it."""

    pieces: list[Buffer]
    record: bytes


class Part(NamedTuple):
    """A piece of an entry's content, as it is written, with the checksum and the size of the plaintext."""

    data: Buffer
    checksum: int
    plain_bytes: int


class Rendering(ABC):
    """Renders in workers; keeps nothing from one call to the next."""

    @abstractmethod
    def whole(self, path: bytes, fields: Fields, contents: Sequence[Buffer]) -> Whole:
        """An entry, given all blobs of its content."""

    @abstractmethod
    def part(self, content: Buffer) -> Part:
        """One blob of an entry that is too large to be rendered as a whole."""


class ArchiveWriter(ABC):
    """Writes in the parent, in the order of the archive. Told of everything that goes into it."""

    rendering: ClassVar[Rendering]

    @abstractmethod
    def holds(self, fields: Fields) -> bool:
        """Whether the archive has a place for such an entry."""

    @abstractmethod
    def begin(self, entry: Entry) -> bytes:
        """What comes before the content of an entry that is not rendered as a whole."""

    def wholes(self, records: Sequence[tuple[bytes, int]]) -> None:
        """These entries, by record and size in bytes, are written now."""
        return

    def parts(self, parts: Sequence[tuple[int, int, int]]) -> None:
        """Parts of the entry that was begun, by checksum, plain size and size, are written now."""
        return

    @abstractmethod
    def end(self) -> bytes:
        """What comes after the content of the entry that was begun."""

    @abstractmethod
    def finish(self) -> bytes:
        """The end of the archive."""


class _Plain(Rendering):
    def whole(self, path: bytes, fields: Fields, contents: Sequence[Buffer]) -> Whole:
        return Whole(list(contents), b"")

    def part(self, content: Buffer) -> Part:
        return Part(content, 0, len(content))


class PlainWriter(ArchiveWriter):
    """No archive: the content of a file alone."""

    rendering = _Plain()

    def holds(self, fields: Fields) -> bool:
        return True

    def begin(self, entry: Entry) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b""
