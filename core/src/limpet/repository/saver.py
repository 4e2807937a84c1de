"""Storing many blobs at once: workers seal them into packs, the parent saves packs and index."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from typing import Any, Concatenate, ParamSpec, TypeVar

from limpet.format.crypto import MasterKey
from limpet.format.native import ClaimTable
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.repository.packing import PackStore, StoredCounts
from limpet.repository.repository import Repository
from limpet.repository.sealing import FinishedPack, FreePacks, Sealer, SealPlan, pack_buffer_size
from limpet.repository.trees import SealedTree
from limpet.repository.workers import SharedBuffers, Workers, can_fork, usable_cpus, worker_died

P = ParamSpec("P")
R = TypeVar("R")

SPARE_PACKS = 1
"""Pack buffers beyond one a worker, for a pack on its way to the storage; a second bought no time, only memory."""
TREE_PACKS = 2
"""Pack buffers for trees: one that is filled and one on its way."""


class BlobSaver:
    """Stores blobs of one run. Tasks run in workers with a `Sealer`; trees are sealed by the calling thread.

    Made before any thread of the caller's, for it forks. With `source_key` the stored blobs that it opens are another
    repository's. With `workers_seal_trees` tasks may be for trees as well, and `save_tree` is not to be used: tasks of
    one kind first, those of the other after `finish_packs` (a single worker takes them as they come). An index file is
    stored for every `index_blobs` blobs.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        window_count: int = 0,
        window_size_bytes: int = 0,
        source_key: MasterKey | None = None,
        worker_count: int | None = None,
        workers_seal_trees: bool = False,
        index_blobs: int | None = None,
    ) -> None:
        count = worker_count or usable_cpus()
        settings = repository.settings
        data_packs = count + SPARE_PACKS
        # One kind after the other: each worker has one open pack at most, and no more buffers are needed than for data.
        tree_packs = 0 if workers_seal_trees else TREE_PACKS
        self.windows = SharedBuffers(window_count, window_size_bytes)
        self._packs = packs = SharedBuffers(data_packs + tree_packs, pack_buffer_size(settings.pack_size_bytes))
        free_packs = _shared_queue()
        # Apart: a worker that dies while it waits for a buffer leaves its queue locked, and we would wait for ever.
        free_tree_packs: FreePacks = free_packs if workers_seal_trees else queue.SimpleQueue()
        for number in range(data_packs + tree_packs):
            (free_packs if number < data_packs else free_tree_packs).put(number)
        plan = SealPlan(
            key=repository.key,
            compress=repository.config.version > 1,
            level=settings.compression,
            verify=settings.verify_before_upload,
            pack_size_bytes=settings.pack_size_bytes,
            index=repository.index,
            windows=self.windows,
            packs=packs,
            free_packs=free_packs,
            source_key=source_key or repository.key,
        )
        tree_plan = replace(plan, free_packs=free_tree_packs)
        claims, tree_claims = ClaimTable(), ClaimTable()

        def sealers() -> _Sealers:
            made = {BlobKind.DATA: Sealer(plan, BlobKind.DATA, claims.claim)}
            if workers_seal_trees:
                made[BlobKind.TREE] = Sealer(tree_plan, BlobKind.TREE, tree_claims.claim)
            return made

        self._workers = Workers(sealers, count)
        self._store = PackStore(
            repository, packs, {BlobKind.DATA: free_packs, BlobKind.TREE: free_tree_packs}, index_blobs=index_blobs
        )
        self._new_trees: set[bytes] = set()
        self._trees = Sealer(tree_plan, BlobKind.TREE, self._claim_tree)

    @property
    def worker_count(self) -> int:
        """How many tasks run at once."""
        return self._workers.count

    @property
    def counts(self) -> StoredCounts:
        """What has been stored so far."""
        return self._store.counts

    @property
    def tree_bytes(self) -> tuple[int, int]:
        """How many bytes of trees were new so far: plain, and sealed."""
        return self._trees.added_bytes, self._trees.stored_bytes

    def submit(
        self,
        task: Callable[Concatenate[Sealer, P], R],
        done: Callable[[R | None, BaseException | None], None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Run `task(sealer, *args)` in a worker; `done(result, error)` is called in some thread afterwards."""
        self.submit_for(BlobKind.DATA, task, done, *args, **kwargs)

    def submit_for(
        self,
        kind: BlobKind,
        task: Callable[Concatenate[Sealer, P], R],
        done: Callable[[R | None, BaseException | None], None],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `submit`, with the worker's sealer of this kind of blobs."""

        def finish(future: Future[tuple[R, FinishedPack | None]]) -> None:
            try:
                result, pack = future.result()
            except BrokenProcessPool:
                done(None, worker_died())
            except BaseException as error:  # handed on to the thread that waits
                done(None, error)
            else:
                if pack is not None:
                    self._store.save(pack)
                done(result, None)

        self._workers.submit(_run, kind, task, args, kwargs).add_done_callback(finish)

    def save_tree(self, data: bytes) -> BlobId:
        """The id of the tree blob, which is in a pack now or was known before."""
        tree_id = self._trees.store(data)
        if (pack := self._trees.take_full()) is not None:
            self._store.save(pack)
        return tree_id

    def open_trees(self, trees: Sequence[SealedTree]) -> Future[list[bytes | None]]:
        """Have a worker open stored trees; see `TreeReader.open_ahead`."""
        return self._workers.submit(_open_trees, trees)

    def check(self) -> None:
        """Raise what went wrong in the background, if anything did."""
        self._store.check()

    def flush(self) -> None:
        """Finish all packs and store them and their index. No task may be in work."""
        self.finish_packs()
        self._store.flush()

    def finish_packs(self) -> None:
        """Begin to store all packs, full or not. No task may be in work."""
        for pack in itertools.chain(*self._workers.on_each(_take), (self._trees.take(),)):
            if pack is not None:
                self._store.save(pack)

    def close(self) -> None:
        """End workers and threads after a flush."""
        self._workers.close()
        self._store.close()
        # A run may go on for long after this, and what the fork froze is never collected.
        self.windows.discard()
        self._packs.discard()

    def abandon(self) -> None:
        """After an error or Ctrl-C: stop at once; packs already stored get their index."""
        self.windows.close()
        self._workers.kill()
        self._store.abandon()

    def _claim_tree(self, tree_id: bytes) -> bool:
        if tree_id in self._new_trees:
            return False
        self._new_trees.add(tree_id)
        return True


_Sealers = Mapping[BlobKind, Sealer]
"""The state of a worker."""


def _shared_queue() -> FreePacks:
    return get_context("fork").SimpleQueue() if can_fork() else queue.SimpleQueue()


def _take(sealers: _Sealers) -> list[FinishedPack | None]:
    return [sealer.take() for sealer in sealers.values()]


def _open_trees(sealers: _Sealers, trees: Sequence[SealedTree]) -> list[bytes | None]:
    sealer = sealers[BlobKind.DATA]
    return [sealer.open(tree.sealed, tree.tree_id, tree.plain_length_bytes) for tree in trees]


def _run(
    sealers: _Sealers, kind: BlobKind, task: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[R, FinishedPack | None]:
    sealer = sealers[kind]
    return task(sealer, *args, **kwargs), sealer.take_full()
