"""Where restic keeps each file of a repository: the same in all stores, below a prefix of their own.

Source: FORMAT.md, "Layout". Packs are spread over 256 folders by the first two digits of their names.
"""

from __future__ import annotations

from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError
from limpet.ids import is_hex_id


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of a repository's files in a store whose names are paths: `PREFIX/data/ab/ab12...`."""

    prefix: str
    """What all of them begin with, without slashes at its ends; empty for none."""

    def path(self, handle: Handle) -> str:
        """Where the file is; a permanent BackendError for a name that no file of a repository has."""
        kind, name = handle.kind, handle.name
        if kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return self._below(kind.value)
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        return self.folder(kind) + (f"{name[:2]}/{name}" if kind is FileKind.PACK else name)

    def folder(self, kind: FileKind) -> str:
        """What the paths of all files of the kind begin with, the slash included: it keeps other names out."""
        return self._below(kind.value) + "/"

    def name_at(self, kind: FileKind, path: str) -> str | None:
        """The name of the file of that kind that is at this path; None if no file of a repository is called so."""
        name = path.rpartition("/")[2]
        return name if is_hex_id(name) and self.path(Handle(kind, name)) == path else None

    def _below(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name
