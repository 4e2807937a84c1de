"""The part of the public library that removes what is not needed, and mends what is damaged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from limpet.errors import UsageError
from limpet.ids import StorageId, parse_storage_id
from limpet.operations.prune import PruneOptions, PruneResult
from limpet.operations.prune.run import prune as run_prune
from limpet.operations.repair.index import RepairedIndex
from limpet.operations.repair.index import repair_index as run_repair_index
from limpet.operations.repair.packs import RepairedPacks, write_copy
from limpet.operations.repair.packs import repair_packs as run_repair_packs
from limpet.progress import Reporter
from limpet.repository.repository import Repository


def prune(
    repository: Repository, options: PruneOptions | None = None, *, reporter: Reporter | None = None
) -> PruneResult:
    """Remove what no snapshot needs; with `dry_run` in the options only say how much that is.

    RepositoryError, and nothing is changed, if something is missing that a snapshot needs.
    """
    with repository.lock(exclusive=True):
        return run_prune(repository, options, reporter)


def repair_index(
    repository: Repository, *, read_all_packs: bool = False, reporter: Reporter | None = None
) -> RepairedIndex:
    """Have the index name every readable pack and no other; with `read_all_packs` nothing of the old one is trusted."""
    with repository.lock(exclusive=True):
        return run_repair_index(repository, read_all_packs=read_all_packs, reporter=reporter)


def repair_packs(
    repository: Repository,
    packs: Sequence[str],
    *,
    copies: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
) -> RepairedPacks:
    """Save what is readable of the packs with these ids (64 hex digits) in new ones, and remove them.

    First each is copied as it is into the folder `copies`, if one is named.
    """
    chosen = [parse_storage_id(text) for text in packs]
    if not chosen:
        raise UsageError("no ids specified")

    def keep(pack_id: StorageId, data: bytes) -> None:
        assert copies is not None
        write_copy(Path(copies), pack_id, data)

    with repository.lock(exclusive=True):
        return run_repair_packs(repository, chosen, keep if copies is not None else None, reporter)
