"""`PROVIDER:CONTAINER/PREFIX`, and the names of a repository's objects below it."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, UsageError
from limpet.ids import is_hex_id

_FORM = "libcloud:PROVIDER:CONTAINER/PREFIX"


@dataclass(frozen=True, slots=True)
class LibcloudLocation:
    """A provider by libcloud's name, a container there, and what the names of all objects begin with."""

    provider: str
    container: str
    prefix: str

    def __str__(self) -> str:
        return f"libcloud:{self.provider}:{self.container}" + (f"/{self.prefix}" if self.prefix else "")

    def object_name(self, handle: Handle) -> str:
        """Where this file is kept; BackendError (permanent) for a name that no file of a repository has."""
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
        return f"{self.prefix}/{name}" if self.prefix else name


def parse_location(text: str) -> LibcloudLocation:
    """The parts of the location; UsageError where one is missing."""
    provider, colon, place = text.partition(":")
    container, _, prefix = place.partition("/")
    if not provider or not colon or not container or "\0" in text:
        raise UsageError(f"not a place for libcloud: {text!r}; give one as in {_FORM}")
    prefix = posixpath.normpath(prefix).strip("/") if prefix else ""
    if prefix.split("/", 1)[0] == "..":
        raise UsageError(f"the prefix of {text!r} leads out of the container; give one as in {_FORM}")
    return LibcloudLocation(provider, container, "" if prefix == "." else prefix)


def _within(kind: FileKind, name: str) -> str:
    return f"{name[:2]}/{name}" if kind is FileKind.PACK else name
