"""The files that verify reads, those of a folder: one after the other by their paths, from any place on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from limpet.contracts.backend import FileKind

from limpet_command_serve.names import REMOVED
from limpet_command_serve.quota import repository_of

PIECE_BYTES = 256 * 1024
_ID = re.compile(r"[0-9a-f]{64}")
_KINDS = frozenset(kind.value for kind in FileKind if kind is not FileKind.CONFIG)

Parts = tuple[str, ...]
"""The path of a file below the root."""


class Files(Protocol):
    """Stored files named by their content."""

    def after(self, position: Parts) -> Iterator[Parts]:
        """All in an order that stays, from the first one behind the position on; all of them behind ()."""

    def pieces(self, parts: Parts) -> Iterator[memoryview]:
        """The content, each piece to be used before the next one comes.

        FileNotFoundError or MissingFileError where it is gone, OSError where it cannot be read, BackendError where the
        storage is away.
        """


class FolderFiles:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def after(self, position: Parts) -> Iterator[Parts]:
        return _files_below(str(self._root), (), position)

    def pieces(self, parts: Parts) -> Iterator[memoryview]:
        piece = memoryview(bytearray(PIECE_BYTES))
        with open(self._root.joinpath(*parts), "rb", buffering=0) as file:
            while count := file.readinto(piece):
                yield piece[:count]
            with suppress(OSError, AttributeError):  # What clients read must not leave the cache for this.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _files_below(folder: str, parts: Parts, after: Parts) -> Iterator[Parts]:
    for name, is_folder in _sorted_entries(folder):
        path = (*parts, name)
        if is_folder:
            if path >= after[: len(path)] and name != REMOVED:
                yield from _files_below(os.path.join(folder, name), path, after)
        elif path > after and _ID.fullmatch(name) and _is_in_kind(path):
            yield path


def _is_in_kind(path: Parts) -> bool:
    """Whether a file lies where the server puts one: `KIND/ID`, packs also below two digits."""
    within = path[len(repository_of(path)) : -1]
    return within[:1] != () and within[0] in _KINDS and (len(within) == 1 or within[1:] == (path[-1][:2],))


def _sorted_entries(folder: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                (entry.name, is_folder)
                for entry in entries
                if (is_folder := entry.is_dir(follow_symlinks=False)) or entry.is_file(follow_symlinks=False)
            )
    except OSError:
        return []
