"""Limpet: backups in restic's repository format, as a library and a command.

The names below are the public library; each is loaded when it is first used, so that `limpet version` is quick.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from limpet.contracts.source import Selection as Selection
    from limpet.contracts.transport import Transport as Transport
    from limpet.library.basics import (
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
    from limpet.library.looking import (
        diff as diff,
        dump as dump,
        find as find,
        find_versions as find_versions,
        stats as stats,
    )
    from limpet.library.measuring import benchmark as benchmark
    from limpet.library.mending import prune as prune, repair_index as repair_index, repair_packs as repair_packs
    from limpet.operations.benchmark import BenchmarkOptions as BenchmarkOptions
    from limpet.operations.dump import Archive as Archive
    from limpet.operations.prune import PruneOptions as PruneOptions, UnusedLimit as UnusedLimit
    from limpet.operations.restore import Overwrite as Overwrite, RestoreOptions as RestoreOptions
    from limpet.operations.retention import UNLIMITED as UNLIMITED, Policy as Policy, Span as Span
    from limpet.operations.rewrite import NewMetadata as NewMetadata
    from limpet.operations.stats import CountMode as CountMode
    from limpet.library.remaking import (
        copy as copy,
        migrate as migrate,
        recover as recover,
        repair_snapshots as repair_snapshots,
        rewrite as rewrite,
    )
    from limpet.repository.repository import Repository as Repository, RepositorySettings as RepositorySettings
    from limpet.repository.snapshots import SnapshotFilter as SnapshotFilter
    from limpet.library.retaining import (
        describe as describe,
        forget as forget,
        protect as protect,
        remove_snapshots as remove_snapshots,
        tag as tag,
        unprotect as unprotect,
    )

_HOMES = {
    "Archive": "limpet.operations.dump",
    "BenchmarkOptions": "limpet.operations.benchmark",
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
    "backup": "limpet.library.basics",
    "benchmark": "limpet.library.measuring",
    "check": "limpet.library.basics",
    "copy": "limpet.library.remaking",
    "create_repository": "limpet.library.basics",
    "describe": "limpet.library.retaining",
    "diff": "limpet.library.looking",
    "dump": "limpet.library.looking",
    "find": "limpet.library.looking",
    "find_versions": "limpet.library.looking",
    "forget": "limpet.library.retaining",
    "list_files": "limpet.library.basics",
    "migrate": "limpet.library.remaking",
    "open_repository": "limpet.library.basics",
    "protect": "limpet.library.retaining",
    "prune": "limpet.library.mending",
    "read_chunks": "limpet.library.basics",
    "read_file": "limpet.library.basics",
    "recover": "limpet.library.remaking",
    "remove_snapshots": "limpet.library.retaining",
    "repair_index": "limpet.library.mending",
    "repair_packs": "limpet.library.mending",
    "repair_snapshots": "limpet.library.remaking",
    "restore": "limpet.library.basics",
    "rewrite": "limpet.library.remaking",
    "snapshots": "limpet.library.basics",
    "stats": "limpet.library.looking",
    "tag": "limpet.library.retaining",
    "unprotect": "limpet.library.retaining",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604  # strings all of them


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'limpet' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  # costs time that a use of the version alone need not pay

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
