"""`Layout`: where the files of a repository are below its folder, as in restic's own backend."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError
from limpet.ids import is_hex_id

DATA_FOLDERS = tuple(f"{number:02x}" for number in range(256))
TEMPORARY_MARK = "-restic-temp-"
"""restic's own mark between a file's name and what makes its temporary name unique."""
_LEFT_BEHIND = (TEMPORARY_MARK, "-tmp-")
"""The second is what both programs leave in a folder that is used as a local one too."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of a repository in the folder `root`."""

    root: str

    def folders(self, kind: FileKind) -> Sequence[str]:
        """All folders that hold files of the kind."""
        folder = self.folder(kind)
        return [posixpath.join(folder, name) for name in DATA_FOLDERS] if kind is FileKind.PACK else [folder]

    def folder(self, kind: FileKind) -> str:
        """The folder of the kind; that of packs has 256 more in it."""
        return posixpath.join(self.root, kind.value)

    def path(self, handle: Handle) -> str:
        """Where the file is; BackendError for a name that no file of a repository has."""
        name = handle.name
        if handle.kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return posixpath.join(self.root, "config")
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        folder = self.folder(handle.kind)
        return posixpath.join(folder, name[:2], name) if handle.kind is FileKind.PACK else posixpath.join(folder, name)


def temporary_path(path: str) -> str:
    """A path that is nobody else's, for a file on its way to `path`."""
    return f"{path}{TEMPORARY_MARK}{os.urandom(16).hex()}"


def is_temporary(name: str) -> bool:
    """Whether a broken-off save left the file."""
    return any(mark in name for mark in _LEFT_BEHIND) and is_owned(name)


def is_owned(name: str) -> bool:
    """Whether a file of this name is a repository's, temporary ones included."""
    final = name
    for mark in _LEFT_BEHIND:
        final = final.split(mark, 1)[0]
    return final == "config" or is_hex_id(final)
