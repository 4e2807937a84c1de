"""The prune: find what is used, plan, rewrite packs, write the index anew, remove packs.

At every moment the stored index names a copy of each blob that a snapshot needs: new packs and their index come before
the old index goes, and packs are removed when no index names them any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError, LimpetError, RepositoryError, UsageError
from limpet.ids import BlobId, StorageId, short
from limpet.operations.index_files import rewrite_indexes, save_indexes
from limpet.operations.prune.options import PruneOptions
from limpet.operations.prune.plan import Fate, PrunePlan, plan_prune
from limpet.operations.prune.repack import repack
from limpet.operations.prune.result import PruneResult
from limpet.operations.removal import remove_files
from limpet.operations.used_blobs import UsedBlobs, find_used_blobs
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import load_snapshots

CONFIRM_EVERY_S = 10.0
"""While packs are removed, our lock is looked up so often."""

Planned = Callable[[PruneResult], None]


def prune(
    repository: Repository,
    options: PruneOptions | None = None,
    reporter: Reporter | None = None,
    planned: Planned | None = None,
    *,
    ignored_snapshots: Collection[StorageId] = (),
) -> PruneResult:
    """Remove what no snapshot needs. `planned` is told the figures before anything is changed.

    The caller holds an exclusive lock (none is needed for a dry run); the index is loaded here, and dropped in the end.
    `ignored_snapshots` count as removed already, for a dry run that would remove them. RepositoryError for a repository
    that lacks something needed: then nothing is changed. IntegrityError or BackendError for what cannot be read or
    stored: then nothing needed is lost, and another prune goes on from there.
    """
    options = options or PruneOptions()
    if ignored_snapshots and not options.dry_run:
        raise ValueError("data of snapshots that are there cannot be removed")
    return _Prune(repository, options, reporter or SilentReporter(), ignored_snapshots).run(planned)


class _Prune:
    def __init__(
        self,
        repository: Repository,
        options: PruneOptions,
        reporter: Reporter,
        ignored_snapshots: Collection[StorageId],
    ) -> None:
        self._repository = repository
        # With a full storage nothing is rewritten, so that nobody gets stuck halfway.
        self._options = replace(options, max_repack_bytes=0) if options.unsafe_recovery else options
        self._reporter = reporter
        self._ignored_snapshots = ignored_snapshots
        self._packs_left = 0

    def run(self, planned: Planned | None) -> PruneResult:
        self._refuse_nonsense()
        used = self._find_used()
        plan = plan_prune(used, self._options, self._reporter)
        del used  # the plan has it, until it is carried out
        result = plan.result
        if planned is not None:
            planned(result)
        if self._options.dry_run:
            self._describe(plan)
            return result
        self._sweep()
        self._remove_unreferenced(plan)
        if plan.count(Fate.REPACK):
            self._reporter.note("repacking packs")
            repack(self._repository, plan, self._reporter)
        removed = list(plan.packs(Fate.REPACK, Fate.REMOVE))
        if self._options.unsafe_recovery:
            self._recover(plan, removed)
        else:
            forgotten = list(plan.packs(Fate.FORGET))
            del plan  # with the index, which takes much memory and is not needed any more
            self._finish(removed, forgotten)
        result.packs_left = self._packs_left
        self._repository.drop_index()
        self._reporter.note("done")
        return result

    def _refuse_nonsense(self) -> None:
        options, repository = self._options, self._repository
        if options.repack_uncompressed and repository.config.version < 2:
            raise UsageError("compression requires at least repository format version 2")
        if options.repack_smaller_than_bytes > repository.settings.pack_size_bytes:
            raise UsageError("repack-smaller-than exceeds repository packsize")

    def _find_used(self) -> UsedBlobs:
        self._repository.load_whole_index()
        self._reporter.note("loading all snapshots...")
        roots = self._roots()
        self._reporter.note(f"finding data that is still in use for {len(roots)} snapshots")
        progress = Progress("snapshots", files_total=len(roots), is_counter=True)
        self._reporter.begin(progress)

        def snapshots_done(count: int) -> None:
            progress.files_done += count

        try:
            return find_used_blobs(self._repository, roots, snapshots_done)
        except (RepositoryError, IntegrityError) as error:
            raise RepositoryError(f"failed finding blobs: {error}") from error
        except BackendError as error:
            raise BackendError(f"failed finding blobs: {error}", permanent=error.permanent) from error
        finally:
            self._reporter.end()

    def _roots(self) -> list[BlobId]:
        """The trees of all snapshots; RepositoryError if one cannot be read, for then nobody knows what it needs."""
        roots = []
        for stored in load_snapshots(self._repository, _refuse):
            if stored.id in self._ignored_snapshots:
                continue
            if stored.snapshot.tree is None:
                raise RepositoryError(f"failed loading snapshot: {short(stored.id)} has no tree")
            roots.append(stored.snapshot.tree)
        return roots

    def _describe(self, plan: PrunePlan) -> None:
        note = self._reporter.note
        note(
            "Repeated prune dry-runs can report slightly different amounts of data to keep or repack. "
            "This is expected behavior.\n\n",
            verbosity=2,
        )
        if plan.unreferenced:
            note(f"Would have removed the following unreferenced packs:\n{_listed(plan.unreferenced)}\n\n", verbosity=2)
        note(
            f"Would have repacked and removed the following packs:\n{_listed(plan.packs(Fate.REPACK))}\n\n", verbosity=2
        )
        note(
            f"Would have removed the following no longer used packs:\n{_listed(plan.packs(Fate.REMOVE))}\n\n",
            verbosity=2,
        )

    # -- changes ------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove what killed processes left of files that they never finished."""
        try:
            swept = self._repository.backend.sweep()
        except BackendError as error:
            self._reporter.warning(f"unable to remove temporary files: {error}")
            return
        if swept:
            self._reporter.note(f"removed {swept} temporary files of interrupted uploads", verbosity=2)

    def _remove_unreferenced(self, plan: PrunePlan) -> None:
        """First, for this gives room for what is rewritten."""
        if plan.unreferenced:
            self._reporter.note("deleting unreferenced packs")
            self._remove_packs(plan.unreferenced)
            plan.unreferenced = []

    def _finish(self, removed: Collection[StorageId], forgotten: Collection[StorageId]) -> None:
        """Have no index name the packs that go, then remove those."""
        if removed or forgotten:
            rewrite_indexes(self._repository, {*removed, *forgotten}, self._reporter)
        self._remove_old(removed)

    def _recover(self, plan: PrunePlan, removed: Collection[StorageId]) -> None:
        """The same without room for a second index: if this is cut off, `repair index` has to make a new one."""
        self._reporter.note("deleting index files")
        self._repository.confirm_lock()
        names = sorted(self._repository.index_names)
        remove_files(self._repository, FileKind.INDEX, names, self._reporter, self._index_removed)
        self._remove_old(removed)
        table = plan.used.repository.index.table
        gone = {Fate.REPACK, Fate.REMOVE, Fate.FORGET}

        def kept() -> Iterator[bytes]:
            for number in range(table.pack_count()):
                if number >= len(plan.fates) or plan.fates[number] not in gone:
                    progress.files_done += 1
                    yield table.pack_json(number)

        total = table.pack_count() - plan.count(*gone)
        progress = Progress("packs processed", files_total=total, is_counter=True)
        self._reporter.begin(progress)
        try:
            save_indexes(self._repository, kept())
        finally:
            self._reporter.end()

    def _remove_old(self, packs: Collection[StorageId]) -> None:
        if packs:
            self._reporter.note(f"removing {len(packs)} old packs")
            self._remove_packs(packs)

    def _remove_packs(self, packs: Collection[StorageId]) -> None:
        """What cannot be removed is told and left: too many packs do no harm. LockedError once our lock is gone."""
        self._repository.confirm_lock()
        confirmed = time.monotonic()

        def removed(handle: Handle, error: BackendError | None) -> None:
            nonlocal confirmed
            if error is not None:
                self._packs_left += 1
                self._reporter.warning(f"unable to remove {handle} from the repository")
            else:
                self._reporter.note(f"removed {handle}", verbosity=3)
            if time.monotonic() - confirmed > CONFIRM_EVERY_S:
                confirmed = time.monotonic()
                self._repository.confirm_lock()

        remove_files(self._repository, FileKind.PACK, [one.hex() for one in packs], self._reporter, removed)

    def _index_removed(self, handle: Handle, error: BackendError | None) -> None:
        if error is not None:
            self._reporter.warning(f"unable to remove {handle} from the repository")
            raise error
        self._reporter.note(f"removed {handle}", verbosity=3)


def _refuse(name: str, error: LimpetError) -> None:
    raise RepositoryError(f"failed loading snapshot: {error}; nothing was changed") from error


def _listed(pack_ids: Collection[StorageId] | Iterator[StorageId]) -> str:
    return "{" + " ".join(sorted(short(pack_id) for pack_id in pack_ids)) + "}"
