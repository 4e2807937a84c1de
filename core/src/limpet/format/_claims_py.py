"""The twin of `_native.ClaimTable` in plain Python, guarded by a lock: the fallback without the extension.

The layout is that of the C table: segments of doubling size in one shared anonymous mapping, each cut into buckets.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from contextlib import AbstractContextManager

ID_SIZE = 32
BUCKET_SLOTS = 16
BUCKET_BYTES = BUCKET_SLOTS * ID_SIZE
HEADER_BYTES = 4096
FIRST_SEGMENT_BUCKETS = 1024
SEGMENTS = 11  # 2^25 slots: 1 GiB of address space
EMPTY = bytes(ID_SIZE)


class ClaimTable:
    """Ids of blobs shared between forked processes: the first claim of an id wins."""

    def __init__(self) -> None:
        buckets = FIRST_SEGMENT_BUCKETS * (2**SEGMENTS - 1)
        # Private to the process where there is no fork: nobody else could have it there.
        self._memory = mmap.mmap(-1, HEADER_BYTES + buckets * BUCKET_BYTES)
        self._lock = _new_lock()
        # Keyed and hashed anew, so that no id reads as an empty slot and nobody can aim at one bucket.
        self._key = os.urandom(32)

    def claim(self, blob_id: bytes, /) -> bool:
        """Whether this call is the first to claim the id; also True once the table is full: a blob stored twice does
        no harm, a lost one does.
        """
        digest = self._digest(blob_id)
        with self._lock:
            offset = self._find(digest)
            if offset is not None and self._memory[offset : offset + ID_SIZE] == digest:
                return False
            if offset is not None:
                self._memory[offset : offset + ID_SIZE] = digest
                self._memory[:8] = (len(self) + 1).to_bytes(8, "little")
            return True

    def contains(self, blob_id: bytes, /) -> bool:
        """Whether somebody has claimed the id."""
        digest = self._digest(blob_id)
        with self._lock:
            offset = self._find(digest)
            return offset is not None and self._memory[offset : offset + ID_SIZE] == digest

    def __len__(self) -> int:
        return int.from_bytes(self._memory[:8], "little")

    def _digest(self, blob_id: bytes) -> bytes:
        if not isinstance(blob_id, bytes):
            raise TypeError(f"expected bytes, {type(blob_id).__name__} found")
        if len(blob_id) != ID_SIZE:
            raise ValueError(f"an id has {ID_SIZE} bytes, not {len(blob_id)}")
        return hashlib.blake2b(blob_id, key=self._key, digest_size=ID_SIZE).digest()

    def _find(self, digest: bytes) -> int | None:
        """Where the id lies or may lie; None if all its buckets are full of others."""
        number = int.from_bytes(digest[:8], "little")
        for segment in range(SEGMENTS):
            before = FIRST_SEGMENT_BUCKETS * (2**segment - 1)
            bucket = before + number % (FIRST_SEGMENT_BUCKETS << segment)
            start = HEADER_BYTES + bucket * BUCKET_BYTES
            for offset in range(start, start + BUCKET_BYTES, ID_SIZE):
                if self._memory[offset : offset + ID_SIZE] in (digest, EMPTY):
                    return offset
        return None


def _new_lock() -> AbstractContextManager[bool]:
    if hasattr(os, "fork"):
        import multiprocessing  # noqa: PLC0415  # heavy, and only this fallback needs it

        return multiprocessing.get_context("fork").Lock()
    import threading  # noqa: PLC0415

    return threading.Lock()
