"""What the path of a request names: a repository, the files of one kind in it, or one file. Pure; nothing else passes.

A path has at most two folders, then nothing, `config`, `KIND/` or `KIND/ID`. Folders that begin with a dot are the
server's own (`.removed`, `.uploads`) and cannot be named by anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from limpet.contracts.backend import FileKind
from limpet.ids import is_hex_id

Folders = tuple[str, ...]
"""The folders of a repository below the root: none, one or two names."""

MOST_FOLDERS = 2
REMOVED = ".removed"
"""The folder of a repository for files that are removed and kept, see `removed`."""
UPLOADS = ".uploads"
"""The folder of a repository for uploads under way, see `folder_store`."""
MOST_NAME_BYTES = 255
"""What file systems take."""

_KINDS = {kind.value: kind for kind in FileKind}


class Shape(Enum):
    """What a path stands for."""

    REPOSITORY = "repository"
    LISTING = "listing"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about. `kind` is None for a whole repository; `name` is empty but for files with an id."""

    folders: Folders
    shape: Shape
    kind: FileKind | None = None
    name: str = ""

    @property
    def repository(self) -> str:
        """The repository's path below the root, as rest-server's metrics have it."""
        return "/".join(self.folders)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of one repository; `name` is empty for the config."""

    folders: Folders
    kind: FileKind
    name: str = ""

    def __str__(self) -> str:
        return "/".join((*self.folders, self.kind.value, *([self.name] if self.name else [])))


def parse_path(path: str) -> Target | None:
    """What the decoded path of a URL names; None if it can name nothing."""
    if not path.startswith("/") or "\0" in path:
        return None
    parts = path[1:].split("/")
    folders: list[str] = []
    while len(folders) < MOST_FOLDERS and len(parts) > 1 and parts[0] not in _KINDS:
        folders.append(parts.pop(0))
    if not all(map(_is_folder_name, folders)):
        return None
    return _within(tuple(folders), parts)


def _within(folders: Folders, parts: list[str]) -> Target | None:
    match parts:
        case [""]:
            return Target(folders, Shape.REPOSITORY)
        case [FileKind.CONFIG.value]:
            return Target(folders, Shape.FILE, FileKind.CONFIG)
        case [kind, ""] if kind in _KINDS and kind != FileKind.CONFIG.value:
            return Target(folders, Shape.LISTING, _KINDS[kind])
        case [kind, name] if kind in _KINDS and kind != FileKind.CONFIG.value and is_hex_id(name):
            return Target(folders, Shape.FILE, _KINDS[kind], name)
    return None


def _is_folder_name(name: str) -> bool:
    size_bytes = len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))
    return 0 < size_bytes <= MOST_NAME_BYTES and not name.startswith(".")
