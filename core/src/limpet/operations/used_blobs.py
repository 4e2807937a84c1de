"""The blobs that snapshots need: every tree below their roots and all content of the files in them.

Trees are loaded by threads in this process, many with one request, and looked through by worker processes, which
mark what they find in memory that all share: a byte for each blob of the index, whatever the snapshots have in common.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError, RepositoryError
from limpet.format._marks_py import PACK_USE
from limpet.format.crypto import MasterKey
from limpet.format.native import BlobMarks
from limpet.format.pack import BlobKind
from limpet.format.tree import decode_tree_fields
from limpet.ids import BlobId, StorageId
from limpet.operations.check.trees import PlacedTree, TreeRange, batches
from limpet.repository.blobs import BlobOpener
from limpet.repository.repository import Repository
from limpet.repository.workers import SharedBuffers, Workers, usable_cpus, worker_died

BATCH_BYTES = 2 * 1024 * 1024
SPARE_BUFFERS = 2
"""Filled by the parent while every worker has one."""
ROUND_TREES = 16 * 1024
"""So many trees are put in the order of their places before they are loaded; more would take memory."""
ROUND_SNAPSHOTS = 64
"""So many snapshots are walked at once: each may have few new trees, and a progress should be seen."""


@dataclass(slots=True)
class UsedBlobs:
    """A mark for each blob that is used. `missing` is data that is used and in no index. Counts the marks.

    The repository's index must stay as it is while this is in use; blobs may be added.
    """

    repository: Repository
    marks: BlobMarks = field(init=False)
    missing: set[BlobId] = field(default_factory=set)

    def __post_init__(self) -> None:
        table = self.repository.index.table
        # Anonymous shared memory: what forked workers mark is seen here.
        self.marks = BlobMarks(table, mmap.mmap(-1, max(1, len(table))))

    def __len__(self) -> int:
        return len(self.marks)

    def contains(self, kind: BlobKind, blob_id: BlobId) -> bool:
        """Whether the blob is used and in an index."""
        return self.marks.is_marked(kind.value, blob_id)

    def packs(self) -> list[StorageId]:
        """Every pack that has a copy of a blob that is used."""
        records, _ = self.marks.survey()
        pack_id = self.repository.index.table.pack_id
        return [
            StorageId(pack_id(number))
            for number, (used, _unused, duplicate, *_) in enumerate(PACK_USE.iter_unpack(records))
            if used or duplicate
        ]


def find_used_blobs(
    repository: Repository, roots: Sequence[BlobId], snapshots_done: Callable[[int], None] | None = None
) -> UsedBlobs:
    """All blobs that the trees and everything below them name; each tree is read once. The index is loaded before.

    `snapshots_done` is told from time to time how many more of the roots are done. RepositoryError for a tree that is
    in no index, IntegrityError or BackendError for one that cannot be read; data that is missing is in the result.
    """
    used = UsedBlobs(repository)
    with _Walk(used) as walk:
        for start in range(0, len(roots), ROUND_SNAPSHOTS):
            some = roots[start : start + ROUND_SNAPSHOTS]
            walk.run(some)
            if snapshots_done is not None:
                snapshots_done(len(some))
    return used


class _LoadedTree(NamedTuple):
    """A sealed tree in a buffer; sizes in bytes."""

    tree_id: BlobId
    offset: int
    length: int
    plain_length: int


class _Found(NamedTuple):
    """What some trees refer to: folders below them, and blobs that no index knows; and trees that are damaged."""

    subtrees: list[str]
    unknown: list[str]
    damaged: list[BlobId]


class _Marker:
    """The state of a worker."""

    def __init__(self, key: MasterKey, marks: BlobMarks, buffers: SharedBuffers) -> None:
        self.opener = BlobOpener(key)
        self.marks = marks
        self.buffers = buffers


def _look_through(marker: _Marker, buffer: int, trees: Sequence[_LoadedTree]) -> _Found:
    """Mark what the loaded trees refer to."""
    view = marker.buffers.view(buffer)
    found = _Found([], [], [])
    for tree in trees:
        try:
            data = marker.opener.open(view[tree.offset : tree.offset + tree.length], tree.tree_id, tree.plain_length)
            _mark_nodes(decode_tree_fields(data), marker.marks, found)
        except IntegrityError:
            found.damaged.append(tree.tree_id)
    return found


def _mark_nodes(nodes: Iterable[dict[str, Any]], marks: BlobMarks, found: _Found) -> None:
    mark_listed = marks.mark_listed
    for node in nodes:
        content = node.get("content")
        if content:
            if type(content) is not list:
                raise IntegrityError("a file's content is no list")
            found.unknown.extend(mark_listed(BlobKind.DATA.value, content))
        subtree = node.get("subtree")
        if subtree is not None:
            found.subtrees.append(subtree)


class _Walk:
    """Looks through trees in workers, each once."""

    def __init__(self, used: UsedBlobs) -> None:
        self._used = used
        self._repository = used.repository
        count = usable_cpus() + SPARE_BUFFERS
        self._buffers = SharedBuffers(count, BATCH_BYTES)
        key, marks, buffers = self._repository.key, used.marks, self._buffers
        self._workers = Workers(lambda: _Marker(key, marks, buffers))
        self._threads = ThreadPoolExecutor(count, "limpet-trees")

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._buffers.close()
        if error is None:
            self._workers.close()
        else:
            self._workers.kill()
        self._threads.shutdown(wait=error is None, cancel_futures=True)
        if error is None:
            self._buffers.discard()

    def run(self, roots: Iterable[BlobId]) -> None:
        waiting = list(self._new(roots))
        while waiting:
            # From the end: the folders just found come first, so that few are waiting at any time.
            trees, waiting = waiting[-ROUND_TREES:], waiting[:-ROUND_TREES]
            for found in self._look_at(trees):
                waiting += self._new(_ids(found.subtrees))
                self._used.missing.update(_ids(found.unknown))

    def _new(self, tree_ids: Iterable[BlobId]) -> Iterator[BlobId]:
        """The trees that nobody has looked at yet; they are marked."""
        mark = self._used.marks.mark
        for tree_id in tree_ids:
            try:
                if mark(BlobKind.TREE.value, tree_id):
                    yield tree_id
            except KeyError as error:
                raise RepositoryError(f"id {tree_id.hex()} not found in repository") from error

    def _look_at(self, trees: Iterable[BlobId]) -> Iterator[_Found]:
        """What the trees refer to, in any order."""
        running: set[Future[_Found]] = set()
        try:
            for batch in batches(self._placed(trees), BATCH_BYTES):
                running.add(self._threads.submit(self._look_at_batch, batch))
                if len(running) > 2 * self._workers.count + SPARE_BUFFERS:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise worker_died() from error

    def _placed(self, tree_ids: Iterable[BlobId]) -> Iterator[PlacedTree]:
        for tree_id in tree_ids:
            place = self._repository.index.find(BlobKind.TREE, tree_id)
            assert place is not None  # it has a mark
            yield tree_id, place

    # -- in the threads -----------------------------------------------------------------------------------------

    def _look_at_batch(self, batch: Sequence[TreeRange]) -> _Found:
        """Load the batch's trees and have a worker look through them; damaged ones are read again, one by one."""
        alone = [tree_id for one in batch for tree_id, _ in one.trees]
        found = _Found([], [], alone)
        if batch[0].length_bytes <= BATCH_BYTES:
            buffer = self._buffers.acquire()
            try:
                found = self._workers.submit(_look_through, buffer, self._load(buffer, batch)).result()
            except BackendError:
                pass  # one by one they may be found elsewhere
            finally:
                self._buffers.release(buffer)
        for tree_id in found.damaged:
            data = self._repository.load_blob(BlobKind.TREE, tree_id)
            _mark_nodes(decode_tree_fields(data), self._used.marks, found)
        return found

    def _load(self, buffer: int, batch: Sequence[TreeRange]) -> list[_LoadedTree]:
        view = self._buffers.view(buffer)
        loaded: list[_LoadedTree] = []
        used = 0
        for one in batch:
            handle = Handle(FileKind.PACK, one.pack_id.hex(), is_tree_pack=True)
            self._repository.backend.load_into(handle, one.offset_bytes, view[used : used + one.length_bytes])
            for tree_id, place in one.trees:
                offset = used + place.offset_bytes - one.offset_bytes
                loaded.append(_LoadedTree(tree_id, offset, place.length_bytes, place.plain_length_bytes))
            used += one.length_bytes
        return loaded


def _ids(texts: Iterable[str]) -> Iterator[BlobId]:
    """The ids; RepositoryError for what is none: a tree that nobody understands may need more than we know."""
    for text in texts:
        try:
            blob_id = BlobId(bytes.fromhex(text))
        except (TypeError, ValueError) as error:
            raise RepositoryError(f"a tree names a blob by what is no id: {text!r:.80}") from error
        if len(blob_id) != 32:
            raise RepositoryError(f"a tree names a blob by what is no id: {text!r:.80}")
        yield blob_id
