"""Plaintexts of blobs that all readers of a repository share, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from limpet.format.native import IndexTable
from limpet.format.pack import BlobKind
from limpet.ids import BlobId

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

CACHE_BYTES = 64 * 1024 * 1024


class Plaintexts:
    """The blobs that were read last. Thread-safe."""

    def __init__(self, repository: Repository, cache_bytes: int = CACHE_BYTES) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlobId, bytes] = OrderedDict()
        self._free_bytes = cache_bytes

    @property
    def table(self) -> IndexTable:
        """Where every blob is, as far as the index knows now."""
        return self._repository.index.table

    def kept(self, blob_id: BlobId) -> bytes | None:
        """The plaintext if it is at hand."""
        with self._lock:
            plaintext = self._kept.get(blob_id)
            if plaintext is not None:
                self._kept.move_to_end(blob_id)
            return plaintext

    def load(self, blob_id: BlobId) -> bytes:
        """The verified plaintext; waits for the storage. Errors as `Repository.load_blob`."""
        plaintext = self.kept(blob_id)
        if plaintext is None:
            plaintext = self._repository.load_blob(BlobKind.DATA, blob_id)
            self._keep(blob_id, plaintext)
        return plaintext

    def close(self) -> None:
        """Load nothing ahead any more. Idempotent."""

    def _keep(self, blob_id: BlobId, plaintext: bytes) -> None:
        with self._lock:
            if blob_id in self._kept:
                return
            self._kept[blob_id] = plaintext
            self._free_bytes -= len(plaintext)
            while self._free_bytes < 0 and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._free_bytes += len(dropped)
