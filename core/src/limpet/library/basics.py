"""The part of the public library that opens, saves, reads, restores and checks."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import limpet
from limpet import registry
from limpet.contracts.backend import Backend
from limpet.contracts.source import Selection, Source, SourceRequest
from limpet.contracts.transport import Transport
from limpet.errors import RepositoryError
from limpet.format.kdf import KdfParameters
from limpet.format.node import Node, NodeType
from limpet.format.pack import BlobKind
from limpet.operations.backup import BackupOptions, BackupResult
from limpet.operations.backup import backup as run_backup
from limpet.operations.check import CheckOptions, CheckResult, EveryPack
from limpet.operations.check import check as run_check
from limpet.operations.restore import RestoreOptions, RestoreResult
from limpet.operations.restore import restore as run_restore
from limpet.operations.walk import find_node, walk
from limpet.progress import Reporter
from limpet.repository.repository import Repository, RepositorySettings
from limpet.repository.snapshots import (
    NO_FILTER,
    SnapshotFilter,
    StoredSnapshot,
    find_parent,
    find_snapshot,
    load_snapshots,
    tree_of,
)
from limpet.storage.retry import RetryBackend

SnapshotName = str | StoredSnapshot
"""A snapshot, or what names one: an id or the start of one, `latest`, `latest~2`, each with `:folder` behind it."""


def create_repository(
    location: str | Backend,
    password: str,
    *,
    version: int = 2,
    options: Mapping[str, str] | None = None,
    settings: RepositorySettings | None = None,
    kdf: KdfParameters | None = None,
    transport: Transport | None = None,
) -> Repository:
    """A new repository, open. RepositoryError if there is one already.

    `options` are the backend's, by full name (`{"s3.region": "eu"}`); `transport` says how it talks to its
    server; `kdf` makes the password's key cheaper or dearer to try than the half second that is the default.
    """
    return Repository.create(
        _backend(location, options, transport), password, version=version, settings=settings, kdf=kdf
    )


def open_repository(
    location: str | Backend,
    password: str,
    *,
    options: Mapping[str, str] | None = None,
    settings: RepositorySettings | None = None,
    transport: Transport | None = None,
) -> Repository:
    """The repository at the location, to be closed or used as a context manager.

    NoRepositoryError where there is none, WrongPasswordError where no key opens with the password.
    """
    return Repository.open(_backend(location, options, transport), password, settings=settings)


def backup(
    repository: Repository,
    targets: Sequence[str | os.PathLike[str] | Source],
    *,
    selection: Selection | None = None,
    tags: Sequence[str] = (),
    host: str | None = None,
    parent: StoredSnapshot | None = None,
    reporter: Reporter | None = None,
) -> BackupResult:
    """One snapshot of paths, of `scheme://` arguments of installed sources, and of sources made by the caller.

    Without a parent it is compared with the latest snapshot of the same host and paths. Files that cannot be read are
    counted in `errors` and left out; SourceError if a source cannot be trusted, and then there is no snapshot.
    """
    hostname = host or socket.gethostname()
    time_ns = time.time_ns()
    with ExitStack() as stack:
        stack.enter_context(repository.lock())
        sources = _sources(targets, selection or Selection(), reporter)
        for source in sources:
            stack.callback(source.close)
        if parent is None and any(source.has_parent for source in sources):
            paths = [path for source in sources for path in source.snapshot_paths]
            parent = find_parent(repository, None, SnapshotFilter([hostname], (), paths), not_after_ns=time_ns)
        options = BackupOptions(
            hostname=hostname,
            time_ns=time_ns,
            tags=tuple(tags),
            parent=parent,
            program_version=f"limpet {limpet.__version__}",
        )
        repository.refresh_index(reporter)
        return run_backup(repository, sources, options, reporter)


def snapshots(repository: Repository, chosen: SnapshotFilter = NO_FILTER) -> list[StoredSnapshot]:
    """The snapshots that pass the filter, oldest first."""
    return [stored for stored in load_snapshots(repository) if chosen.matches(stored.snapshot)]


def list_files(repository: Repository, snapshot: SnapshotName = "latest") -> Iterator[tuple[bytes, Node]]:
    """Path and node of everything in the snapshot, each folder before what is in it."""
    stored, subfolder = _snapshot(repository, snapshot)
    repository.refresh_index()
    return walk(repository, tree_of(repository, stored, subfolder))


def read_file(repository: Repository, path: str | bytes, snapshot: SnapshotName = "latest") -> bytes:
    """The content of one file, verified. RepositoryError if there is no such file."""
    return b"".join(read_chunks(repository, path, snapshot))


def read_chunks(repository: Repository, path: str | bytes, snapshot: SnapshotName = "latest") -> Iterator[bytes]:
    """The content of one file, verified, in pieces of at most 8 MiB."""
    stored, subfolder = _snapshot(repository, snapshot)
    repository.refresh_index()
    found = find_node(repository, tree_of(repository, stored, subfolder), os.fsencode(path))
    if found.node is None or found.node.type is not NodeType.FILE:
        raise RepositoryError(f"{os.fsdecode(path)} is no file in the snapshot")
    for blob_id in found.node.content or ():
        yield repository.load_blob(BlobKind.DATA, blob_id)


def restore(
    repository: Repository,
    target: str | os.PathLike[str],
    snapshot: SnapshotName = "latest",
    *,
    options: RestoreOptions | None = None,
    reporter: Reporter | None = None,
) -> RestoreResult:
    """Write the snapshot below the target folder; what cannot be restored is counted in `errors`."""
    with repository.lock():
        stored, subfolder = _snapshot(repository, snapshot)
        repository.refresh_index(reporter)
        tree_id = tree_of(repository, stored, subfolder)
        return run_restore(repository, tree_id, Path(target), options, reporter)


def check(repository: Repository, *, read_data: bool = False, reporter: Reporter | None = None) -> CheckResult:
    """Look for damage: in the structure, or with `read_data` in every byte. `errors` of the result tell."""
    with repository.lock(exclusive=True):
        return run_check(repository, CheckOptions(EveryPack() if read_data else None), reporter)


def _backend(location: str | Backend, options: Mapping[str, str] | None, transport: Transport | None = None) -> Backend:
    if isinstance(location, Backend):
        return location
    return RetryBackend(registry.open_backend(location, options, transport))


def _snapshot(repository: Repository, snapshot: SnapshotName) -> tuple[StoredSnapshot, str]:
    return (snapshot, "") if isinstance(snapshot, StoredSnapshot) else find_snapshot(repository, snapshot)


def _sources(
    targets: Sequence[str | os.PathLike[str] | Source], selection: Selection, reporter: Reporter | None
) -> list[Source]:
    """The caller's own sources, and one of each scheme among the other targets."""
    sources = [target for target in targets if isinstance(target, Source)]
    grouped: dict[str, list[str]] = {}
    for target in targets:
        if not isinstance(target, Source):
            argument = registry.source_argument(os.fspath(target))
            grouped.setdefault(argument.scheme, []).append(argument.rest)
    for scheme, arguments in grouped.items():
        request = SourceRequest(tuple(arguments), registry.source_options(scheme), selection, reporter)
        sources.append(registry.open_source(scheme, request))
    return sources
