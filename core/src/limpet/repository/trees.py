"""Reading trees: the last ones are kept, and with each comes what lies before it in its pack.

A folder's tree is written after those of the folders in it, so whoever walks down finds the next trees close before
the one just read: one request instead of dozens.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.errors import BackendError, IntegrityError
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, StorageId
from limpet.repository.blob_index import BlobIndex, BlobLocation
from limpet.repository.blobs import BlobOpener

KEPT_BYTES = 8 * 1024 * 1024
STRETCH_BYTES = 256 * 1024
KEPT_STRETCHES = 8


class TreeReader:
    """Verified plaintexts of trees. Thread-safe."""

    def __init__(
        self,
        index: BlobIndex,
        backend: Callable[[], Backend],
        opener: Callable[[], BlobOpener],
        load_blob: Callable[[BlobKind, BlobId], bytes],
    ) -> None:
        self._index = index
        self._backend = backend
        self._opener = opener
        self._load_blob = load_blob
        self._lock = threading.Lock()
        self._trees: OrderedDict[BlobId, bytes] = OrderedDict()
        self._free_bytes = KEPT_BYTES
        self._stretches: OrderedDict[StorageId, tuple[int, memoryview]] = OrderedDict()

    def read(self, tree_id: BlobId) -> bytes:
        """The tree's JSON; errors as `Repository.load_blob`."""
        with self._lock:
            data = self._trees.get(tree_id)
            if data is not None:
                self._trees.move_to_end(tree_id)
                return data
        data = self._read_stretch(tree_id)
        if data is None:
            data = self._load_blob(BlobKind.TREE, tree_id)
        self._keep(tree_id, data)
        return data

    def _read_stretch(self, tree_id: BlobId) -> bytes | None:
        """The tree out of the stretch of its pack that holds it; None if that fails in any way."""
        location = self._index.find(BlobKind.TREE, tree_id)
        if location is None:
            return None
        try:
            sealed = self._sealed(location)
            return self._opener().open(sealed, tree_id, location.plain_length_bytes)
        except (BackendError, IntegrityError):
            return None  # read by itself it may be sound, or elsewhere

    def _sealed(self, location: BlobLocation) -> memoryview:
        end = location.offset_bytes + location.length_bytes
        with self._lock:
            start, stretch = self._stretches.get(location.pack_id, (0, memoryview(b"")))
        if not start <= location.offset_bytes or end > start + len(stretch):
            start = max(0, min(location.offset_bytes, end - STRETCH_BYTES))
            handle = Handle(FileKind.PACK, location.pack_id.hex(), is_tree_pack=True)
            stretch = memoryview(self._backend().load(handle, start, end - start))
            if len(stretch) > STRETCH_BYTES:
                return stretch  # one huge tree, read for itself
            with self._lock:
                self._stretches[location.pack_id] = start, stretch
                self._stretches.move_to_end(location.pack_id)
                if len(self._stretches) > KEPT_STRETCHES:
                    self._stretches.popitem(last=False)
        return stretch[location.offset_bytes - start : end - start]

    def _keep(self, tree_id: BlobId, data: bytes) -> None:
        with self._lock:
            if tree_id in self._trees:
                return
            self._trees[tree_id] = data
            self._free_bytes -= len(data)
            while self._free_bytes < 0:
                _, dropped = self._trees.popitem(last=False)
                self._free_bytes += len(dropped)
