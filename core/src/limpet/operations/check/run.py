"""The check: indexes, packs, trees, and, where asked for, every byte of data.

The parent loads into shared buffers in a few threads, workers open and compare; see `repository.workers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, LimpetError
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, StorageId
from limpet.operations.check.indexes import check_indexes, check_packs
from limpet.operations.check.options import CheckOptions, CheckResult, Finding, FindingKind, Subset
from limpet.operations.check.tasks import (
    CheckPlan,
    PackChecker,
    PlacedTree,
    TreeReport,
    check_pack,
    check_trees,
    look_at_pack,
    look_through,
)
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.blob_index import BlobLocation
from limpet.repository.repository import Repository
from limpet.repository.snapshots import load_snapshots
from limpet.repository.workers import SharedBuffers, Workers, usable_cpus, worker_died

MIB = 1024 * 1024
MAX_BUFFER = 160 * MIB
"""Packs larger than any that restic or Limpet writes are read without a shared buffer."""
TREE_BATCH_BYTES = 4 * MIB
TREE_GAP_BYTES = 64 * 1024
"""Bytes between two trees that are rather read than skipped with another request."""
TREE_BATCH = 512
SPARE_BUFFERS = 2

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
        self._lock = threading.Lock()
        self._trees_seen: set[BlobId] = set()
        self._data_seen: set[BlobId] = set()

    def run(self) -> CheckResult:
        trees = self._roots()
        self._reporter.note("load indexes")
        check_indexes(self._repository, self._found)
        if self._result.has(FindingKind.INDEX):
            return self._result
        self._reporter.note("check all packs")
        packs = check_packs(self._repository, self._found)
        buffer_size = min(MAX_BUFFER, max([TREE_BATCH_BYTES, *packs.values()]))
        self._buffers = SharedBuffers(usable_cpus() + SPARE_BUFFERS, buffer_size)
        self._plan = CheckPlan(
            self._repository.key, self._repository.index, self._buffers, self._options.trees is not None
        )
        with (
            Workers(lambda: PackChecker(self._plan)) as workers,
            ThreadPoolExecutor(max(1, self._repository.backend.properties.connections)) as threads,
        ):
            self._workers, self._threads = workers, threads
            try:
                self._reporter.note("check snapshots, trees and blobs")
                self._check_trees(trees)
                if self._options.read is not None:
                    self._read_packs(self._options.read, packs)
            except BrokenProcessPool as error:
                raise worker_died() from error
            finally:
                self._buffers.close()
                self._reporter.end()
        return self._result

    def _roots(self) -> list[BlobId]:
        """Trees of the snapshots: read before the index, which may only grow."""
        if self._options.trees is not None:
            return list(self._options.trees)
        roots = []

        def unreadable(name: str, error: LimpetError) -> None:
            self._found(Finding(FindingKind.SNAPSHOT, bytes.fromhex(name), (str(error),)))

        for stored in load_snapshots(self._repository, unreadable):
            if stored.snapshot.tree is None:
                self._found(Finding(FindingKind.SNAPSHOT, stored.id, ("has no tree",)))
            else:
                roots.append(stored.snapshot.tree)
        return roots

    def _found(self, finding: Finding) -> None:
        with self._lock:
            self._result.findings.append(finding)
        if self._told is not None:
            self._told(finding)

    # -- trees --------------------------------------------------------------------------------------------------

    def _check_trees(self, roots: Iterable[BlobId]) -> None:
        """Look through all trees below the roots, each once, level by level."""
        progress = Progress("check trees")
        self._reporter.begin(progress)
        level = self._new_trees(roots)
        while level:
            below: list[BlobId] = []
            for reports in self._in_workers(self._batches(level), self._check_batch):
                for report in reports:
                    progress.files_done += 1
                    if report.errors:
                        self._found(Finding(FindingKind.TREE, report.tree_id, tuple(report.errors)))
                    below.extend(report.subtrees)
                    self._data_seen.update(report.data)
            level = self._new_trees(below)

    def _new_trees(self, tree_ids: Iterable[BlobId]) -> list[BlobId]:
        new = [tree_id for tree_id in dict.fromkeys(tree_ids) if tree_id not in self._trees_seen]
        self._trees_seen.update(new)
        return new

    def _batches(self, tree_ids: Sequence[BlobId]) -> Iterator[list[tuple[BlobId, BlobLocation]]]:
        """The trees by pack and place, in batches that fit into one buffer."""
        placed = []
        for tree_id in tree_ids:
            location = self._repository.index.find(BlobKind.TREE, tree_id)
            if location is None:
                self._found(Finding(FindingKind.TREE, tree_id, (f"tree {tree_id.hex()} not found in index",)))
            else:
                placed.append((tree_id, location))
        placed.sort(key=lambda one: (one[1].pack_id, one[1].offset_bytes))
        batch: list[tuple[BlobId, BlobLocation]] = []
        size = 0
        for tree_id, location in placed:
            if batch and (size + location.length_bytes > TREE_BATCH_BYTES or len(batch) >= TREE_BATCH):
                yield batch
                batch, size = [], 0
            batch.append((tree_id, location))
            size += location.length_bytes
        if batch:
            yield batch

    def _check_batch(self, batch: Sequence[tuple[BlobId, BlobLocation]]) -> list[TreeReport]:
        """In a thread: load the batch's trees and have a worker look through them."""
        if batch[0][1].length_bytes > self._buffers.size_bytes:
            return [self._check_alone(tree_id) for tree_id, _ in batch]
        buffer = self._buffers.acquire()
        try:
            placed = self._load_trees(buffer, batch)
            reports = self._workers.submit(check_trees, buffer, placed).result()
        except BackendError:
            return [self._check_alone(tree_id) for tree_id, _ in batch]
        finally:
            self._buffers.release(buffer)
        # What is damaged may have a sound copy elsewhere.
        return [self._check_alone(report.tree_id) if report.errors else report for report in reports]

    def _check_alone(self, tree_id: BlobId) -> TreeReport:
        try:
            return look_through(tree_id, self._repository.load_blob(BlobKind.TREE, tree_id), self._plan)
        except LimpetError as error:
            return TreeReport(tree_id, [], [], [str(error)])

    def _load_trees(self, buffer: int, batch: Sequence[tuple[BlobId, BlobLocation]]) -> list[PlacedTree]:
        """Read the trees into the buffer; neighbours in a pack with one request."""
        view = self._buffers.view(buffer)
        placed: list[PlacedTree] = []
        used = first = 0
        while first < len(batch):
            start = batch[first][1]
            last = first
            while last + 1 < len(batch) and _adjoins(batch[last][1], batch[last + 1][1], used, start, len(view)):
                last += 1
            length = _end(batch[last][1]) - start.offset_bytes
            handle = Handle(FileKind.PACK, start.pack_id.hex(), is_tree_pack=True)
            self._repository.backend.load_into(handle, start.offset_bytes, view[used : used + length])
            for tree_id, location in batch[first : last + 1]:
                offset = used + location.offset_bytes - start.offset_bytes
                placed.append(PlacedTree(tree_id, offset, location.length_bytes, location.plain_length_bytes))
            used += length
            first = last + 1
        return placed

    # -- data ---------------------------------------------------------------------------------------------------

    def _read_packs(self, subset: Subset, packs: dict[StorageId, int]) -> None:
        if self._options.trees is not None:
            packs = {pack_id: packs[pack_id] for pack_id in self._needed_packs() if pack_id in packs}
        chosen = subset.choose(sorted(packs.items()))
        missing = {one.subject for one in self._result.findings if one.kind is FindingKind.PACK_MISSING}
        chosen = [pack for pack in chosen if pack[0] not in missing]
        progress = Progress("check packs", files_total=len(chosen), bytes_total=sum(size for _, size in chosen))
        self._reporter.begin(progress)
        for pack_id, size, errors in self._in_workers(chosen, self._check_pack):
            progress.files_done += 1
            progress.bytes_done += size
            if errors:
                text = f"pack {pack_id.hex()} contains {len(errors)} errors: [{'; '.join(errors)}]"
                self._found(Finding(FindingKind.PACK_DATA, pack_id, (text,)))
        self._result.packs_read = len(chosen)

    def _needed_packs(self) -> set[StorageId]:
        index = self._repository.index
        needed = {location.pack_id for one in self._data_seen for location in index.find_all(BlobKind.DATA, one)}
        return needed | {location.pack_id for one in self._trees_seen for location in index.find_all(BlobKind.TREE, one)}

    def _check_pack(self, pack: tuple[StorageId, int]) -> tuple[StorageId, int, list[str]]:
        """In a thread: load the pack and have a worker open it."""
        pack_id, size = pack
        handle = Handle(FileKind.PACK, pack_id.hex())
        try:
            if size > self._buffers.size_bytes:
                data = self._repository.backend.load(handle)
                return pack_id, size, look_at_pack(PackChecker(self._plan), memoryview(data), pack_id)
            buffer = self._buffers.acquire()
            try:
                self._repository.backend.load_into(handle, 0, self._buffers.view(buffer)[:size])
                return pack_id, size, self._workers.submit(check_pack, buffer, size, pack_id).result()
            finally:
                self._buffers.release(buffer)
        except BackendError as error:
            return pack_id, size, [f"cannot be read: {error}"]

    def _in_workers(self, items: Iterable[S], work: Callable[[S], T]) -> Iterator[T]:
        """Results of the work on each item, in any order; only a few items are taken ahead."""
        limit = 2 * self._workers.count + SPARE_BUFFERS
        running: set[Future[T]] = set()
        for item in items:
            running.add(self._threads.submit(work, item))
            if len(running) >= limit:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        for future in running:
            yield future.result()


def _end(location: BlobLocation) -> int:
    return location.offset_bytes + location.length_bytes


def _adjoins(left: BlobLocation, right: BlobLocation, used: int, start: BlobLocation, room: int) -> bool:
    """Whether the right blob is read along with the left one, in a request that began at `start`."""
    return (
        left.pack_id == right.pack_id
        and right.offset_bytes - _end(left) <= TREE_GAP_BYTES
        and used + _end(right) - start.offset_bytes <= room
    )
