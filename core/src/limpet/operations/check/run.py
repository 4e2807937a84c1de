"""The check: indexes, packs, trees, and, where asked for, every byte of data.

The parent loads into shared buffers in a few threads, workers open and compare; see `repository.workers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, LimpetError
from limpet.format.chunker import MAX_SIZE
from limpet.format.native import ClaimTable, Sha256
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, StorageId
from limpet.operations.check.hashing import PackHasher
from limpet.operations.check.indexes import check_indexes, check_packs
from limpet.operations.check.options import CheckOptions, CheckResult, Finding, FindingKind, Subset
from limpet.operations.check.tasks import (
    CheckPlan,
    LoadedTree,
    PackChecker,
    TreeReport,
    check_trees,
    check_window,
    look_at_window,
    look_through,
)
from limpet.operations.check.trees import PlacedTree, TreeRange, batches
from limpet.operations.check.windows import Window, windows
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import select_snapshots
from limpet.repository.workers import SharedBuffers, Workers, usable_cpus, worker_died

MIB = 1024 * 1024
BUFFER_BYTES = MAX_SIZE + MIB // 16
"""Room for the largest chunk, sealed. What is larger (trees of huge folders) the parent looks at itself."""
TREE_BATCH_BYTES = 2 * MIB
SPARE_BUFFERS = 2
"""Filled by the parent while every worker has one."""

S = TypeVar("S")
T = TypeVar("T")


def check(
    repository: Repository,
    options: CheckOptions | None = None,
    reporter: Reporter | None = None,
    found: Callable[[Finding], None] | None = None,
) -> CheckResult:
    """Look for damage; each finding is told to `found` when it is made. The caller holds a lock."""
    return _Check(repository, options or CheckOptions(), reporter or SilentReporter(), found).run()


class _Check:
    def __init__(
        self,
        repository: Repository,
        options: CheckOptions,
        reporter: Reporter,
        found: Callable[[Finding], None] | None,
    ) -> None:
        self._repository = repository
        self._options = options
        self._reporter = reporter
        self._told = found
        self._result = CheckResult()
        self._trees_seen = ClaimTable()
        self._needed_packs: set[StorageId] = set()

    def run(self) -> CheckResult:
        roots = self._roots()
        self._reporter.note("load indexes")
        check_indexes(self._repository, self._found)
        if self._result.has(FindingKind.INDEX):
            return self._result
        self._reporter.note("check all packs")
        packs = check_packs(self._repository, self._found)
        self._tell_leftovers()
        buffers = usable_cpus() + SPARE_BUFFERS
        self._buffers = SharedBuffers(buffers, BUFFER_BYTES)
        data_seen = ClaimTable() if self._options.is_filtered else None
        self._plan = CheckPlan(self._repository.key, self._repository.index, self._buffers, data_seen)
        with (
            ThreadPoolExecutor(buffers, "limpet-check") as threads,
            Workers(lambda: PackChecker(self._plan)) as workers,
            PackHasher(max(1, workers.count // 2)) as hasher,
        ):
            self._threads, self._workers, self._hasher = threads, workers, hasher
            try:
                self._reporter.note("check snapshots, trees and blobs")
                self._check_trees(roots)
                if self._options.read is not None:
                    self._read_packs(self._options.read, packs)
            except BrokenProcessPool as error:
                raise worker_died() from error
            finally:
                self._buffers.close()
                self._reporter.end()
        return self._result

    def _tell_leftovers(self) -> None:
        count = sum(one.kind is FindingKind.PACK_UNREFERENCED for one in self._result.findings)
        if count and not self._result.errors:
            self._reporter.note(
                f"{count} additional files were found in the repo, which likely contain duplicate data.\n"
                "This is non-critical, you can run `restic prune` to correct this."
            )

    def _roots(self) -> list[BlobId]:
        """Trees of the snapshots: read before the index, which may only grow."""
        roots = []
        options = self._options
        for stored in select_snapshots(
            self._repository,
            options.snapshot_names,
            options.snapshot_filter,
            lambda name, error: self._found(Finding(FindingKind.SNAPSHOT, name, (str(error),))),
        ):
            if stored.snapshot.tree is None:
                self._found(Finding(FindingKind.SNAPSHOT, stored.id.hex(), ("has no tree",)))
            else:
                roots.append(stored.snapshot.tree)
        return roots

    def _found(self, finding: Finding) -> None:
        self._result.findings.append(finding)
        if self._told is not None:
            self._told(finding)

    # -- trees --------------------------------------------------------------------------------------------------

    def _check_trees(self, roots: Sequence[BlobId]) -> None:
        """Look through all trees below the roots, each once, level by level."""
        progress = Progress("trees", is_counter=True)
        self._reporter.begin(progress)
        level = self._new_trees(roots)
        while level:
            below: list[BlobId] = []
            for reports in self._in_threads(batches(self._placed(level), TREE_BATCH_BYTES), self._check_batch):
                for report in reports:
                    progress.files_done += 1
                    self._take_in(report)
                    below += report.subtrees
            level = self._new_trees(below)
        # The result is told in snapshots, as restic does; level by level, all of them are through at the same time.
        progress.operation, progress.files_done, progress.files_total = "snapshots", len(roots), len(roots)
        self._reporter.end()

    def _take_in(self, report: TreeReport) -> None:
        if report.damage or report.errors:
            details = [report.damage] if report.damage else report.errors
            self._found(Finding(FindingKind.TREE, report.tree_id.hex(), tuple(details)))
        for blob_id in report.data:
            places = self._repository.index.find_all(BlobKind.DATA, blob_id)
            self._needed_packs.update(place.pack_id for place in places)

    def _new_trees(self, tree_ids: Iterable[BlobId]) -> list[BlobId]:
        return [tree_id for tree_id in tree_ids if self._trees_seen.claim(tree_id)]

    def _placed(self, tree_ids: Iterable[BlobId]) -> Iterator[PlacedTree]:
        for tree_id in tree_ids:
            places = self._repository.index.find_all(BlobKind.TREE, tree_id)
            if places:
                self._needed_packs.update(place.pack_id for place in places)
                yield tree_id, places[0]
            else:
                self._found(Finding(FindingKind.TREE, tree_id.hex(), ("not found in index",)))

    def _check_batch(self, batch: Sequence[TreeRange]) -> list[TreeReport]:
        """In a thread: load the batch's trees and have a worker look through them."""
        reports: list[TreeReport] = []
        if batch[0].length_bytes <= self._buffers.size_bytes:
            buffer = self._buffers.acquire()
            try:
                trees = self._load_trees(buffer, batch)
                reports = self._workers.submit(check_trees, buffer, trees).result()
            except BackendError:
                reports = []
            finally:
                self._buffers.release(buffer)
        if not reports:
            return [self._check_alone(tree_id) for one in batch for tree_id, _ in one.trees]
        # What is damaged may have a sound copy elsewhere, or be sound when it is loaded again.
        return [self._check_alone(report.tree_id) if report.damage else report for report in reports]

    def _check_alone(self, tree_id: BlobId) -> TreeReport:
        try:
            return look_through(tree_id, self._repository.load_blob(BlobKind.TREE, tree_id), self._plan)
        except LimpetError as error:
            return TreeReport(tree_id, [], [], [], str(error))

    def _load_trees(self, buffer: int, batch: Sequence[TreeRange]) -> list[LoadedTree]:
        """Read the ranges into the buffer."""
        view = self._buffers.view(buffer)
        loaded: list[LoadedTree] = []
        used = 0
        for one in batch:
            handle = Handle(FileKind.PACK, one.pack_id.hex(), is_tree_pack=True)
            self._repository.backend.load_into(handle, one.offset_bytes, view[used : used + one.length_bytes])
            for tree_id, place in one.trees:
                offset = used + place.offset_bytes - one.offset_bytes
                loaded.append(LoadedTree(tree_id, offset, place.length_bytes, place.plain_length_bytes))
            used += one.length_bytes
        return loaded

    # -- data ---------------------------------------------------------------------------------------------------

    def _read_packs(self, subset: Subset, packs: dict[StorageId, int]) -> None:
        if self._options.is_filtered:
            packs = {pack_id: packs[pack_id] for pack_id in self._needed_packs & packs.keys()}
        every = sorted(packs.items())
        chosen = subset.choose(every)
        self._reporter.note(subset.describe(every, chosen, "filtered " if self._options.is_filtered else ""))
        total_bytes = sum(size for _, size in chosen)
        progress = Progress("packs", files_total=len(chosen), bytes_total=total_bytes, is_counter=True)
        self._reporter.begin(progress)
        for (_, size), finding in self._in_threads(chosen, self._check_pack):
            progress.files_done += 1
            progress.bytes_done += size
            if finding is not None:
                self._found(finding)
        self._result.packs_read = len(chosen)

    def _check_pack(self, pack: tuple[StorageId, int]) -> tuple[tuple[StorageId, int], Finding | None]:
        """In a thread: load the pack and have a worker open it; once more if that finds anything."""
        name = pack[0].hex()
        try:
            errors = self._look_into(pack)
            if errors:
                # Whatever comes out the second time, something is wrong: with the pack or on the way to it.
                errors = self._look_into(pack) or [f"sound on second attempt, at first: {'; '.join(errors)}"]
        except BackendError as error:
            return pack, Finding(FindingKind.PACK_UNREADABLE, name, (f"pack {name}: download error: {error}",))
        if not errors:
            return pack, None
        text = f"pack {name} contains {len(errors)} errors: [{'; '.join(errors)}]"
        return pack, Finding(FindingKind.PACK_DATA, name, (text,))

    def _look_into(self, pack: tuple[StorageId, int]) -> list[str]:
        pack_id, size = pack
        errors = []
        stream = Sha256()
        for window in windows(self._repository.index.table.pack_blobs(pack_id), size):
            errors += self._look_at(pack_id, size, window, stream)
        if stream.digest() != pack_id:
            errors.append(f"unexpected pack id {stream.digest().hex()}")
        return errors

    def _look_at(self, pack_id: StorageId, size: int, window: Window, stream: Sha256) -> list[str]:
        """Load the window, have a worker open what is in it, and append it to the pack's hash meanwhile."""
        backend, handle = self._repository.backend, Handle(FileKind.PACK, pack_id.hex())
        if window.length_bytes > self._buffers.size_bytes:
            data = memoryview(backend.load(handle, window.start, window.length_bytes))
            stream.update(data)
            return look_at_window(PackChecker(self._plan), data, pack_id, size, window)
        buffer = self._buffers.acquire()
        try:
            view = self._buffers.view(buffer)[: window.length_bytes]
            if view.nbytes:
                backend.load_into(handle, window.start, view)
            hashing = self._hasher.append(stream, view)
            errors = self._workers.submit(check_window, buffer, pack_id, size, window).result()
            hashing.result()
            return errors
        finally:
            self._buffers.release(buffer)

    def _in_threads(self, items: Iterable[S], work: Callable[[S], T]) -> Iterator[T]:
        """Results of the work on each item, in any order; only a few items are taken ahead."""
        running: set[Future[T]] = set()
        for item in items:
            running.add(self._threads.submit(work, item))
            if len(running) > 2 * self._workers.count + SPARE_BUFFERS:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
