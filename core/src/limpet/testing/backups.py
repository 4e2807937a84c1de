"""`BackupScene`: a folder, a repository in memory and quick backups of the one into the other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from limpet import registry
from limpet.contracts.backend import Backend, FileKind
from limpet.contracts.source import Folder, Source, SourceRequest, StatLike, Target
from limpet.format.kdf import KdfParameters, new_salt
from limpet.format.node import Node
from limpet.format.pack import BlobKind
from limpet.operations.backup import BackupOptions, BackupResult, backup
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.operations.walk import walk
from limpet.progress import Reporter
from limpet.repository.repository import Repository, RepositorySettings
from limpet.repository.snapshots import StoredSnapshot, load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend

PASSWORD = "scene"
HOST = "here"
START_NS = 1_700_000_000_000_000_000
POLYNOMIAL = 0x3DA3358B4DC173
"""The same for every scene, so that chunks can be compared between them."""


def cheap_kdf() -> KdfParameters:
    """Parameters that cost nothing, for repositories that hold no secrets; restic takes them too."""
    return KdfParameters(2, 1, 1, new_salt())


class BackupScene:
    """Each backup opens the repository anew, a second later than the one before, with that as its parent."""

    def __init__(
        self,
        folder: Path,
        *,
        backend: Backend | None = None,
        version: int = 2,
        settings: RepositorySettings | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.backend = RecordingBackend(backend or MemoryBackend())
        self.settings = settings or RepositorySettings()
        self.parent: StoredSnapshot | None = None
        self.time_ns = START_NS
        Repository.create(self.backend, PASSWORD, version=version, polynomial=POLYNOMIAL, kdf=cheap_kdf())

    def open(self) -> Repository:
        """The repository, with its index."""
        repository = Repository.open(self.backend, PASSWORD, settings=self.settings)
        repository.load_index()
        return repository

    def backup(
        self,
        *sources: Source,
        before: Callable[[Path], object] | None = None,
        reporter: Reporter | None = None,
        **options: Any,
    ) -> BackupResult:
        """Back up the folder, or the sources; `before` is called when a folder was listed and is about to be read."""
        chosen: Sequence[Source] = sources or (self.source(before, reporter),)
        self.time_ns += 1_000_000_000
        settings: dict[str, Any] = {"hostname": HOST, "time_ns": self.time_ns, "parent": self.parent, **options}
        result = backup(self.open(), chosen, BackupOptions(**settings), reporter)
        if result.snapshot is not None and not options.get("dry_run"):
            self.parent = result.snapshot
        return result

    def source(self, before: Callable[[Path], object] | None = None, reporter: Reporter | None = None) -> Source:
        """The folder as a source, by its name alone: what others do in the folders above does not matter."""
        with contextlib.chdir(self.folder.parent):
            source = registry.source("path").open(SourceRequest([self.folder.name], reporter=reporter))
        return source if before is None else MeddledSource(source, before)

    def nodes(self, result: BackupResult) -> dict[str, Node]:
        """Everything below the folder in a backup, by its path from there."""
        prefix = b"/" + os.fsencode(self.folder.name) + b"/"
        found = walk(self.open(), result.tree)
        return {os.fsdecode(path[len(prefix) :]): node for path, node in found if path.startswith(prefix)}

    def content(self, node: Node) -> bytes:
        """The bytes of a file in the repository."""
        repository = self.open()
        return b"".join(repository.load_blob(BlobKind.DATA, blob_id) for blob_id in node.content or ())

    def snapshots(self) -> list[StoredSnapshot]:
        """All there are."""
        return load_snapshots(self.open())

    def problems(self) -> list[str]:
        """What a check of all data finds."""
        return [str(error) for error in check(self.open(), CheckOptions(EveryPack())).errors]

    def stored(self, kind: FileKind) -> list[str]:
        """Names of the files of a kind."""
        return sorted(info.name for info in self.backend.list(kind))


class MeddledSource(Source):
    """A source whose files change between being listed and being read."""

    contract_version: ClassVar[int] = 1

    def __init__(self, inner: Source, before: Callable[[Path], object]) -> None:
        self._inner = inner
        self._before = before

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """Not by name: it wraps another."""
        raise NotImplementedError

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return self._inner.snapshot_paths

    @property
    def error_count(self) -> int:
        return self._inner.error_count

    def targets(self) -> Sequence[Target]:
        return self._inner.targets()

    def folders(self, target: Target) -> Iterator[Folder]:
        for folder in self._inner.folders(target):
            self._before(Path(os.fsdecode(folder.open_path or b"")))
            yield folder

    def folder_stat(self, path: bytes) -> StatLike | None:
        return self._inner.folder_stat(path)

    def folder_path(self, path: bytes) -> bytes | None:
        return self._inner.folder_path(path)

    def finish(self) -> None:
        self._inner.finish()

    def close(self) -> None:
        self._inner.close()
