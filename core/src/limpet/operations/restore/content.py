"""Writing and comparing file content by descriptor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256

HOLE_BLOCK_BYTES = 4096
"""What file systems allocate at least: a shorter run of zeros is no hole."""
_ZEROS = bytes(HOLE_BLOCK_BYTES)


def write_at(descriptor: int, data: memoryview, offset_bytes: int) -> None:
    """Write all of `data` at the offset; OSError."""
    while data:
        written = os.pwrite(descriptor, data, offset_bytes)
        data = data[written:]
        offset_bytes += written


def write_sparsely_at(descriptor: int, data: memoryview, offset_bytes: int) -> None:
    """Write what of `data` is not zeros in whole blocks of the file, or at its ends.

    Right only where the file reads as zeros so far: a new file that was only extended.
    """
    for begin, end in data_runs(data, offset_bytes):
        write_at(descriptor, data[begin:end], offset_bytes + begin)


def data_runs(data: memoryview, offset_bytes: int) -> Iterator[tuple[int, int]]:
    """The stretches of `data` that are not blocks of zeros, blocks counted from the start of the file."""
    size = len(data)
    run_start = -1
    position = 0
    while position < size:
        end = min(size, position + HOLE_BLOCK_BYTES - (offset_bytes + position) % HOLE_BLOCK_BYTES)
        if data[position:end] == _ZEROS[: end - position]:
            if run_start >= 0:
                yield run_start, position
                run_start = -1
        elif run_start < 0:
            run_start = position
        position = end
    if run_start >= 0:
        yield run_start, size


def matching_blobs(descriptor: int, offset_bytes: int, blobs: Sequence[tuple[bytes, int]], buffer: memoryview) -> bytes:
    """For each `(id, length in bytes)` in a row from the offset on, 1 if the file has that content there, else 0."""
    matches = bytearray(len(blobs))
    for i, (blob_id, length) in enumerate(blobs):
        matches[i] = _hash_range(descriptor, offset_bytes, length, buffer) == blob_id
        offset_bytes += length
    return bytes(matches)


def _hash_range(descriptor: int, offset_bytes: int, length_bytes: int, buffer: memoryview) -> bytes | None:
    """SHA-256 of the range; None if the file ends before."""
    digest = sha256()
    while length_bytes:
        count = os.preadv(descriptor, [buffer[: min(length_bytes, len(buffer))]], offset_bytes)
        if count == 0:
            return None
        digest.update(buffer[:count])
        offset_bytes += count
        length_bytes -= count
    return digest.digest()
