"""Where a repository is: `container:/prefix`, and the names of its blobs there, which are restic's."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, UsageError
from limpet.ids import is_hex_id

_CONTAINER = re.compile(r"\$root|\$web|\$logs|[a-z0-9](?:-?[a-z0-9]){2,62}")


@dataclass(frozen=True, slots=True)
class Place:
    """A container and the folder in it, without slashes at its ends; empty for the container itself."""

    container: str
    folder: str

    def __str__(self) -> str:
        return f"azure:{self.container}:/{self.folder}"

    def blob_name(self, handle: Handle) -> str:
        """The name of the file's blob; permanent BackendError for a name that no file of a repository has."""
        name = handle.name
        if handle.kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return self._below("config")
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        return self.prefix(handle.kind) + (f"{name[:2]}/{name}" if handle.kind is FileKind.PACK else name)

    def prefix(self, kind: FileKind) -> str:
        """What the names of all blobs of the kind begin with."""
        return self._below(kind.value) + "/"

    def file_name(self, kind: FileKind, blob_name: str) -> str | None:
        """The name of the file of that kind that is stored under this one; None if the blob is none."""
        name = blob_name.rpartition("/")[2]
        return name if is_hex_id(name) and self.blob_name(Handle(kind, name)) == blob_name else None

    def _below(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name


def parse_place(location: str) -> Place:
    """The place that `CONTAINER:/PREFIX` names; UsageError for anything else."""
    container, colon, folder = location.partition(":")
    if not colon:
        raise UsageError(f"not a place in Azure: azure:{location}; it is written azure:CONTAINER:/PREFIX")
    if _CONTAINER.fullmatch(container) is None:
        raise UsageError(
            f"not the name of a container: {container!r}; it has 3 to 63 lower-case letters, digits and single dashes"
        )
    folder = posixpath.normpath(folder or ".").strip("/")
    return Place(container, "" if folder == "." else folder)
