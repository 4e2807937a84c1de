"""restic's location of a repository in Swift, and the names of its objects."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, UsageError
from limpet.ids import is_hex_id


@dataclass(frozen=True, slots=True)
class SwiftLocation:
    """A container and what the names of all objects of the repository begin with."""

    container: str
    prefix: str

    def __str__(self) -> str:
        return f"swift:{self.container}:/{self.prefix}"

    def object_name(self, handle: Handle) -> str:
        """Where restic keeps this file; BackendError (permanent) for a name that no file of a repository has."""
        if handle.kind is FileKind.CONFIG:
            return self._join("config")
        if not is_hex_id(handle.name):
            raise BackendError(f"{handle.kind.value}/{handle.name!r} is no name of a file", permanent=True)
        return self.listing_prefix(handle.kind) + _within(handle.kind, handle.name)

    def listing_prefix(self, kind: FileKind) -> str:
        """What the names of all files of the kind begin with."""
        return self._join(kind.value) + "/"

    def file_name(self, kind: FileKind, object_name: str) -> str | None:
        """The name of the file that is kept under this object's name; None if it is none of the kind."""
        name = object_name.rpartition("/")[2]
        if is_hex_id(name) and object_name == self.listing_prefix(kind) + _within(kind, name):
            return name
        return None

    def _join(self, name: str) -> str:
        return _clean(f"{self.prefix}/{name}") if self.prefix else name


def parse_location(text: str) -> SwiftLocation:
    """`CONTAINER:/PREFIX`, the prefix may be empty; UsageError for anything else."""
    container, _, path = text.partition(":")
    if not container or "/" in container or "\0" in text:
        raise UsageError(f"not a place in Swift: {text!r}; give one as in swift:CONTAINER:/PATH")
    if not path.startswith("/"):
        raise UsageError(f"the path in swift:{text} must start with a slash: give it as in swift:CONTAINER:/PATH")
    return SwiftLocation(container, path[1:])


def _within(kind: FileKind, name: str) -> str:
    return f"{name[:2]}/{name}" if kind is FileKind.PACK else name


def _clean(path: str) -> str:
    """The shortest form of the path, as Go's `path.Join` gives it to restic."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned
