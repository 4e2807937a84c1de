"""The public library's second part: snapshots copied, made anew, repaired and recovered.

Errors are those of `limpet.errors`; nothing is ever printed. Each call holds the locks it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import limpet
from limpet.errors import UsageError
from limpet.operations.copy import CopiedBefore, CopiedSnapshot, copy_snapshots
from limpet.operations.migrate import find_migration
from limpet.operations.origin import Origin
from limpet.operations.recover import find_roots, save_roots
from limpet.operations.repair.snapshots import SnapshotRepairer
from limpet.operations.rewrite import Excluding, Including, NewMetadata, Replacement, RewriteOptions, SnapshotRewriter
from limpet.operations.rewrite.filters import PathFilter
from limpet.patterns import Patterns
from limpet.progress import Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot, load_snapshots

__all__ = ["copy", "migrate", "recover", "repair_snapshots", "rewrite"]


def copy(
    source: Repository,
    destination: Repository,
    snapshots: Iterable[StoredSnapshot] | None = None,
    *,
    reporter: Reporter | None = None,
) -> list[CopiedSnapshot]:
    """Copy the snapshots of the source, or all, with what they need; those copied before are left out.

    Chunks stay as they are: only with the source's `chunker_polynomial` does the destination store nothing twice that
    is backed up into it as well.
    """
    with source.lock(), destination.lock():
        before = CopiedBefore(load_snapshots(destination))
        wanted = load_snapshots(source) if snapshots is None else snapshots
        new = [stored for stored in wanted if before.find(stored) is None]
        source.refresh_index(reporter)
        destination.refresh_index(reporter)
        return copy_snapshots(source, destination, new, reporter)


def rewrite(
    repository: Repository,
    snapshots: Iterable[StoredSnapshot] | None = None,
    *,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    metadata: NewMetadata | None = None,
    forget: bool = False,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> list[Replacement]:
    """Make the snapshots, or all, anew without what fits a pattern, or only with it, or with other metadata.

    With `forget` the old ones are removed. UsageError if nothing is to be changed, or both kinds of patterns are given.
    """
    if exclude and include:
        raise UsageError("exclude and include patterns are mutually exclusive")
    keep: PathFilter | None = Excluding([Patterns(exclude)]) if exclude else None
    keep = Including([Patterns(include)]) if include else keep
    options = RewriteOptions(keep, metadata=metadata or NewMetadata(), forget=forget, dry_run=dry_run)
    if options.changes_nothing:
        raise UsageError("nothing to do: no patterns and no new metadata")
    with repository.lock(exclusive=forget, no_lock=dry_run):
        wanted = load_snapshots(repository) if snapshots is None else snapshots
        repository.refresh_index(reporter)
        with SnapshotRewriter(repository, options) as rewriter:
            return [rewriter.rewrite(stored) for stored in wanted]


def repair_snapshots(
    repository: Repository,
    snapshots: Iterable[StoredSnapshot] | None = None,
    *,
    forget: bool = False,
    dry_run: bool = False,
    reporter: Reporter | None = None,
) -> list[Replacement]:
    """Make the snapshots, or all, anew without what is lost; the reporter is told of each file and folder.

    Only what an index names counts as there. A snapshot whose root folder is lost is removed.
    """
    with repository.lock(exclusive=True, no_lock=dry_run):
        wanted = load_snapshots(repository) if snapshots is None else snapshots
        repository.refresh_index(reporter)
        with SnapshotRepairer(repository, dry_run=dry_run, forget=forget, reporter=reporter) as repairer:
            return [repairer.repair(stored) for stored in wanted]


def recover(repository: Repository, *, reporter: Reporter | None = None) -> StoredSnapshot | None:
    """A new snapshot of all folders that no snapshot refers to; None if there are none. Repairs the index before."""
    with repository.lock(exclusive=True):
        snapshots = load_snapshots(repository)
        roots = find_roots(repository, snapshots, reporter or SilentReporter())
        return save_roots(repository, roots, Origin.here(f"limpet {limpet.__version__}")) if roots else None


def migrate(repository: Repository, name: str = "upgrade_repo_v2") -> None:
    """Apply a migration; the repository has to be opened anew afterwards. UsageError for a name that is unknown.

    Unlike the command this does not check the repository before.
    """
    migration = find_migration(name)
    if migration is None:
        raise UsageError(f"unknown migration {name}")
    with repository.lock(exclusive=True):
        migration.apply(repository)
