"""`b2:bucket:prefix`, and the names that restic gives to the files of a repository in there."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, UsageError
from limpet.ids import is_hex_id

SHORTEST_BUCKET, LONGEST_BUCKET = 6, 63

_BUCKET = re.compile(r"[a-zA-Z0-9-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and the prefix of the repository's files, without slashes around it; empty for the whole bucket."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"b2:{self.bucket}:{self.prefix}"

    def folder(self, kind: FileKind) -> str:
        """What the names of all files of this kind begin with; the slash at its end keeps other names out."""
        return self._join(kind.value) + "/"

    def name(self, handle: Handle) -> str:
        """The file's whole name in the bucket; a permanent BackendError for what is no name in a repository."""
        if handle.kind is FileKind.CONFIG:
            if handle.name:
                raise BackendError(f"the config has no name, and not {handle.name!r}", permanent=True)
            return self._join(FileKind.CONFIG.value)
        if not is_hex_id(handle.name):
            raise BackendError(f"not the name of a file in a repository: {handle.name!r}", permanent=True)
        fan_out = f"{handle.name[:2]}/" if handle.kind is FileKind.PACK else ""
        return f"{self.folder(handle.kind)}{fan_out}{handle.name}"

    def id_of(self, kind: FileKind, name: str) -> str | None:
        """The id that a whole name in the bucket stands for; None where it is no file of this kind."""
        identifier = name.rpartition("/")[2]
        return identifier if is_hex_id(identifier) and name == self.name(Handle(kind, identifier)) else None

    def _join(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name


def parse_location(text: str) -> Place:
    """The place that `bucket:prefix` or `bucket` names; UsageError saying what is wrong with it."""
    bucket, _, prefix = text.partition(":")
    shape = "a location in B2 is b2:BUCKET:PATH"
    if not bucket:
        raise UsageError(f"the location names no bucket; {shape}")
    if "/" in bucket:
        raise UsageError(f"the bucket's name {bucket!r} has a slash in it; {shape}, with a second colon")
    if not _BUCKET.fullmatch(bucket) or not SHORTEST_BUCKET <= len(bucket) <= LONGEST_BUCKET:
        raise UsageError(
            f"no bucket of B2 can be called {bucket!r}: its name has {SHORTEST_BUCKET} to {LONGEST_BUCKET} characters,"
            " which are letters, digits and dashes"
        )
    prefix = posixpath.normpath(prefix).lstrip("/") if prefix else ""
    prefix = "" if prefix == "." else prefix
    if any(ord(character) < 32 or character in "\\\x7f" for character in prefix) or prefix.startswith("../"):
        raise UsageError(f"no file of B2 can be called {prefix!r}; {shape}")
    return Place(bucket, prefix)
