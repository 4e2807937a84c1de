"""Where a repository is: `bucket:/prefix`, and the names of its objects there, which are restic's."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, UsageError
from limpet.ids import is_hex_id

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and the folder in it, without slashes at its ends; empty for the bucket itself."""

    bucket: str
    folder: str

    def __str__(self) -> str:
        return f"gs:{self.bucket}:/{self.folder}"

    def object_name(self, handle: Handle) -> str:
        """The name of the file's object; permanent BackendError for a name that no file of a repository has."""
        name = handle.name
        if handle.kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return self._below("config")
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        return self.prefix(handle.kind) + (f"{name[:2]}/{name}" if handle.kind is FileKind.PACK else name)

    def prefix(self, kind: FileKind) -> str:
        """What the names of all objects of the kind begin with."""
        return self._below(kind.value) + "/"

    def file_name(self, kind: FileKind, object_name: str) -> str | None:
        """The name of the file of that kind that is stored under this one; None if the object is none."""
        name = object_name.rpartition("/")[2]
        return name if is_hex_id(name) and self.object_name(Handle(kind, name)) == object_name else None

    def _below(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


def parse_place(location: str) -> Place:
    """The place that `BUCKET:/PREFIX` names; UsageError for anything else."""
    bucket, colon, folder = location.partition(":")
    if not colon:
        raise UsageError(f"not a place in Google Cloud Storage: gs:{location}; it is written gs:BUCKET:/PREFIX")
    if _BUCKET.fullmatch(bucket) is None:
        raise UsageError(
            f"not the name of a bucket: {bucket!r}; it has 3 and more lower-case letters, digits, dashes and dots"
        )
    folder = posixpath.normpath(folder or ".").strip("/")
    return Place(bucket, "" if folder == "." else folder)
