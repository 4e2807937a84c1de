"""What a gateway knows of the files behind it: how much they take, and all of them to be verified.

No backend can be asked which repositories are below a location. So the gateway remembers those into which it has
stored, in `.repositories.json` in its `--path`; sizes and names are listed by the backends.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from limpet.contracts.backend import FileKind
from limpet.errors import MissingFileError, UsageError

from limpet_command_serve.gateway_backends import is_place
from limpet_command_serve.names import Folders, StoredFile, parse_path
from limpet_command_serve.private_file import read_private, replace_private
from limpet_command_serve.quota import repository_of
from limpet_command_serve.store import Store
from limpet_command_serve.verify_files import PIECE_BYTES, Parts

VERSION = 1
REPOSITORIES_NAME = ".repositories.json"
_KINDS = sorted((kind for kind in FileKind if kind is not FileKind.CONFIG), key=lambda kind: kind.value)


class KnownRepositories:
    """The repositories into which the gateway has stored. Thread-safe. UsageError where the file makes no sense."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path = path
        self._tell = tell
        self._lock = threading.Lock()
        self._known = _decode(path, read_private(path))

    def all(self) -> list[Folders]:
        """In an order that stays."""
        with self._lock:
            return sorted(self._known)

    def note(self, folders: Folders) -> None:
        """Something is in this one. Not before: names are the clients' to choose, and there would be any number."""
        if folders in self._known:
            return
        with self._lock:
            self._known.add(folders)
            document = {"version": VERSION, "repositories": ["/".join(known) for known in sorted(self._known)]}
            try:
                replace_private(self._path, (json.dumps(document, indent=2) + "\n").encode())
            except UsageError as error:
                self._tell(f"{error}: after a restart it counts again when something is stored in it")


class GatewayInventory:
    """How much is stored behind a gateway."""

    def __init__(self, store: Store, known: KnownRepositories) -> None:
        self._store = store
        self._known = known
        self._counted: set[Folders] = set()

    def all(self) -> Iterator[tuple[Folders, int]]:
        """The bytes of each repository that is known."""
        for folders in self._known.all():
            yield self.of_new(folders)

    def is_new(self, folders: Folders) -> bool:
        """Whether nobody has counted it yet."""
        return folders not in self._counted

    def of_new(self, folders: Folders) -> tuple[Folders, int]:
        """The bytes of this one; MissingFileError for the name of none that there can be."""
        size_bytes = sum(info.size_bytes for kind in _KINDS for info in self._store.list(folders, kind))
        with suppress(MissingFileError):
            size_bytes += self._store.stat(StoredFile(folders, FileKind.CONFIG)).size_bytes
        self._counted.add(folders)
        if size_bytes:
            self._known.note(folders)
        return folders, size_bytes

    def stored(self, folders: Folders) -> None:
        self._known.note(folders)


class GatewayFiles:
    """All files of the known repositories, to be verified."""

    def __init__(self, store: Store, known: KnownRepositories) -> None:
        self._store = store
        self._known = known

    def after(self, position: Parts) -> Iterator[Parts]:
        start = repository_of(position)
        for folders in self._known.all():
            for kind in _KINDS:
                here = (*folders, kind.value)
                if (folders, kind.value) < (start, position[len(start)] if position else ""):
                    continue
                for name in sorted(info.name for info in self._store.list(folders, kind)):
                    parts = (*here, name[:2], name) if kind is FileKind.PACK else (*here, name)
                    if folders != start or parts > position:
                        yield parts

    def pieces(self, parts: Parts) -> Iterator[memoryview]:
        folders = repository_of(parts)
        piece, offset_bytes = memoryview(bytearray(PIECE_BYTES)), 0
        with self._store.open(StoredFile(folders, FileKind(parts[len(folders)]), parts[-1])) as reading:
            while count := reading.read_into(offset_bytes, piece):
                yield piece[:count]
                offset_bytes += count


def _decode(path: Path, data: bytes | None) -> set[Folders]:
    if data is None:
        return set()
    try:
        document = json.loads(data)
        if document["version"] != VERSION or not isinstance(document["repositories"], list):
            raise ValueError("it is of another kind")
        return {_folders(name) for name in document["repositories"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no list of repositories: remove it, then each counts when it is used") from error


def _folders(name: str) -> Folders:
    target = parse_path(f"/{name}/" if name else "/")
    if not isinstance(name, str) or target is None or target.kind is not None or not is_place(target.folders):
        raise ValueError(f"{name!r} is no repository")
    return target.folders
