"""Limpet: backups in restic's repository format, as a library and a command.

The names below are the public library; each is loaded when it is first used, so that `limpet version` is quick.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from limpet.contracts.source import Selection as Selection
    from limpet.contracts.transport import Transport as Transport
    from limpet.library import (
        backup as backup,
        check as check,
        create_repository as create_repository,
        list_files as list_files,
        open_repository as open_repository,
        read_chunks as read_chunks,
        read_file as read_file,
        restore as restore,
        snapshots as snapshots,
    )
    from limpet.looking import (
        diff as diff,
        dump as dump,
        find as find,
        find_versions as find_versions,
        stats as stats,
    )
    from limpet.mending import prune as prune, repair_index as repair_index, repair_packs as repair_packs
    from limpet.operations.dump import Archive as Archive
    from limpet.operations.prune import PruneOptions as PruneOptions, UnusedLimit as UnusedLimit
    from limpet.operations.restore import Overwrite as Overwrite, RestoreOptions as RestoreOptions
    from limpet.operations.retention import UNLIMITED as UNLIMITED, Policy as Policy, Span as Span
    from limpet.operations.rewrite import NewMetadata as NewMetadata
    from limpet.operations.stats import CountMode as CountMode
    from limpet.remaking import (
        copy as copy,
        migrate as migrate,
        recover as recover,
        repair_snapshots as repair_snapshots,
        rewrite as rewrite,
    )
    from limpet.repository.repository import Repository as Repository, RepositorySettings as RepositorySettings
    from limpet.repository.snapshots import SnapshotFilter as SnapshotFilter
    from limpet.retaining import (
        describe as describe,
        forget as forget,
        protect as protect,
        remove_snapshots as remove_snapshots,
        tag as tag,
        unprotect as unprotect,
    )

_HOMES = {
    "Archive": "limpet.operations.dump",
    "CountMode": "limpet.operations.stats",
    "NewMetadata": "limpet.operations.rewrite",
    "Overwrite": "limpet.operations.restore",
    "Policy": "limpet.operations.retention",
    "PruneOptions": "limpet.operations.prune",
    "Repository": "limpet.repository.repository",
    "RepositorySettings": "limpet.repository.repository",
    "RestoreOptions": "limpet.operations.restore",
    "Selection": "limpet.contracts.source",
    "SnapshotFilter": "limpet.repository.snapshots",
    "Span": "limpet.operations.retention",
    "Transport": "limpet.contracts.transport",
    "UNLIMITED": "limpet.operations.retention",
    "UnusedLimit": "limpet.operations.prune",
    "backup": "limpet.library",
    "check": "limpet.library",
    "copy": "limpet.remaking",
    "create_repository": "limpet.library",
    "describe": "limpet.retaining",
    "diff": "limpet.looking",
    "dump": "limpet.looking",
    "find": "limpet.looking",
    "find_versions": "limpet.looking",
    "forget": "limpet.retaining",
    "list_files": "limpet.library",
    "migrate": "limpet.remaking",
    "open_repository": "limpet.library",
    "protect": "limpet.retaining",
    "prune": "limpet.mending",
    "read_chunks": "limpet.library",
    "read_file": "limpet.library",
    "recover": "limpet.remaking",
    "remove_snapshots": "limpet.retaining",
    "repair_index": "limpet.mending",
    "repair_packs": "limpet.mending",
    "repair_snapshots": "limpet.remaking",
    "restore": "limpet.library",
    "rewrite": "limpet.remaking",
    "snapshots": "limpet.library",
    "stats": "limpet.looking",
    "tag": "limpet.retaining",
    "unprotect": "limpet.retaining",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # strings all of them


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'limpet' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # costs time that a use of the version alone need not pay

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
