"""Reading small blobs: by the block, not one by one, for whoever reads one mostly wants its neighbours next.

Made for trees; small files are read so, too. Where workers are to spare they open all trees of a block ahead.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.errors import BackendError, IntegrityError
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, StorageId
from limpet.repository.blob_index import BlobIndex, BlobLocation
from limpet.repository.blobs import BlobOpener

KEPT_BYTES = 2 * 1024 * 1024
BLOCK_BYTES = 256 * 1024
KEPT_BLOCKS = 8
KEPT_PACKS = 4
KEPT_AHEAD = 4
"""Blocks whose trees lie opened; those of other snapshots among them are never asked for."""


class SealedTree(NamedTuple):
    """A tree as it is stored."""

    tree_id: BlobId
    sealed: bytes
    plain_length_bytes: int


OpenTrees = Callable[[Sequence[SealedTree]], Future[list[bytes | None]]]
"""Opens trees elsewhere: the plaintexts in the same order, None for what is damaged."""


@dataclass(frozen=True, slots=True)
class _Pack:
    """The blobs of a pack by offset."""

    blobs: list[tuple[int, bytes, int, int, int]]
    offsets: list[int]

    @property
    def end(self) -> int:
        _, _, offset, length, _ = self.blobs[-1]
        return offset + length


class TreeReader:
    """Verified plaintexts of trees, or of small blobs of another kind. Thread-safe."""

    def __init__(
        self,
        index: BlobIndex,
        backend: Callable[[], Backend],
        opener: Callable[[], BlobOpener],
        load_blob: Callable[[BlobKind, BlobId], bytes],
        kind: BlobKind = BlobKind.TREE,
    ) -> None:
        self._kind = kind
        self._index = index
        self._backend = backend
        self._opener = opener
        self._load_blob = load_blob
        self._lock = threading.Lock()
        self._trees: OrderedDict[BlobId, bytes] = OrderedDict()
        self._free_bytes = KEPT_BYTES
        self._packs: OrderedDict[StorageId, _Pack] = OrderedDict()
        self._blocks: OrderedDict[tuple[StorageId, int], memoryview] = OrderedDict()
        self._ahead: dict[BlobId, tuple[Future[list[bytes | None]], int]] = {}
        self._ahead_ids: deque[list[BlobId]] = deque()
        self.open_ahead: OpenTrees | None = None
        """Set by who has workers to spare and reads each tree once, in about the order in which they are stored."""

    def read(self, tree_id: BlobId) -> bytes:
        """The tree's JSON; errors as `Repository.load_blob`."""
        with self._lock:
            data = self._trees.get(tree_id)
            if data is not None:
                self._trees.move_to_end(tree_id)
                return data
        data = self._opened_ahead(tree_id)
        if data is not None:
            return data
        data = self._read_from_block(tree_id)
        if data is None:
            data = self._load_blob(self._kind, tree_id)
        self._keep(tree_id, data)
        return data

    def read_at_hand(self, blob_id: BlobId) -> bytes | None:
        """The plaintext, if its block is in memory and it is sound: nothing is loaded."""
        found = self._sealed_at_hand(blob_id)
        if found is None:
            return None
        location, sealed = found
        try:
            return self._opener().open(sealed, blob_id, location.plain_length_bytes)
        except IntegrityError:
            return None

    def is_at_hand(self, blob_id: BlobId) -> bool:
        """Whether its block is in memory."""
        return self._sealed_at_hand(blob_id) is not None

    def _sealed_at_hand(self, blob_id: BlobId) -> tuple[BlobLocation, memoryview] | None:
        location = self._index.find(self._kind, blob_id)
        if location is None:
            return None
        number, start = divmod(location.offset_bytes, BLOCK_BYTES)
        key = location.pack_id, number
        end = start + location.length_bytes
        with self._lock:
            block = self._blocks.get(key)
            if block is None or end > len(block):
                return None
            self._blocks.move_to_end(key)
        return location, block[start:end]

    def _opened_ahead(self, tree_id: BlobId) -> bytes | None:
        """The tree, if a worker has opened it by now."""
        future, place = self._ahead.pop(tree_id, (None, 0))
        if future is None or not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()[place]

    def _read_from_block(self, tree_id: BlobId) -> bytes | None:
        """The tree out of the block of its pack that holds it; None if that fails in any way."""
        location = self._index.find(self._kind, tree_id)
        if location is None:
            return None
        number, start = divmod(location.offset_bytes, BLOCK_BYTES)
        end = start + location.length_bytes
        if end > BLOCK_BYTES:
            return None  # lies across two
        try:
            sealed = self._block(location, number)[start:end]
            return self._opener().open(sealed, tree_id, location.plain_length_bytes)
        except (BackendError, IntegrityError):
            return None  # read by itself it may be sound, or elsewhere

    def _block(self, location: BlobLocation, number: int) -> memoryview:
        key = location.pack_id, number
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
                return block
        pack = self._pack(location.pack_id)
        start = number * BLOCK_BYTES
        handle = Handle(FileKind.PACK, location.pack_id.hex(), is_tree_pack=self._kind is BlobKind.TREE)
        block = memoryview(self._backend().load(handle, start, min(BLOCK_BYTES, pack.end - start)))
        with self._lock:
            self._blocks[key] = block
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        if self.open_ahead is not None:
            self._open_ahead(self.open_ahead, list(_trees_in(pack, start, block)))
        return block

    def _open_ahead(self, open_ahead: OpenTrees, trees: Sequence[SealedTree]) -> None:
        future = open_ahead(trees)
        self._ahead.update((tree.tree_id, (future, place)) for place, tree in enumerate(trees))
        self._ahead_ids.append([tree.tree_id for tree in trees])
        if len(self._ahead_ids) > KEPT_AHEAD:
            for tree_id in self._ahead_ids.popleft():
                self._ahead.pop(tree_id, None)

    def _pack(self, pack_id: StorageId) -> _Pack:
        with self._lock:
            pack = self._packs.get(pack_id)
            if pack is None:
                blobs = self._index.table.pack_blobs(pack_id)
                pack = self._packs[pack_id] = _Pack(blobs, [offset for _, _, offset, _, _ in blobs])
                if len(self._packs) > KEPT_PACKS:
                    self._packs.popitem(last=False)
            return pack

    def _keep(self, tree_id: BlobId, data: bytes) -> None:
        with self._lock:
            if tree_id in self._trees:
                return
            self._trees[tree_id] = data
            self._free_bytes -= len(data)
            while self._free_bytes < 0:
                _, dropped = self._trees.popitem(last=False)
                self._free_bytes += len(dropped)


def _trees_in(pack: _Pack, start: int, block: memoryview) -> Iterator[SealedTree]:
    """The trees that lie in the block as a whole."""
    first, after = (bisect_left(pack.offsets, offset) for offset in (start, start + len(block)))
    for kind, blob_id, offset, length, plain_length in pack.blobs[first:after]:
        begin = offset - start
        if kind == BlobKind.TREE.value and begin + length <= len(block):
            yield SealedTree(BlobId(blob_id), bytes(block[begin : begin + length]), plain_length)
