"""What workers do in a backup: read small files whole, and seal what the parent has read.

Each task takes the worker's `Sealer` first; arguments and results are plain data.
"""

from __future__ import annotations

import os
import stat as stat_modes
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from limpet import filesystem
from limpet.format.chunker import MIN_SIZE
from limpet.format.gojson import quote_name
from limpet.format.statnode import node_json
from limpet.ids import BlobId
from limpet.repository.sealing import Sealer

SMALL_FILE = MIN_SIZE
"""Files up to this size are one chunk: no cut can fall before it."""


class FileOutcome(NamedTuple):
    """One small file: its node, or the error; neither if it has grown and must be chunked. Sizes in bytes."""

    node: bytes | None
    size: int
    added: int
    stored: int
    error: OSError | None


class SealedChunks(NamedTuple):
    """Ids of chunks in the order asked for, and the bytes that were new, plain and stored."""

    ids: list[BlobId]
    added: int
    stored: int


FileGroup = tuple[bytes, list[bytes]]
"""A real folder's path and the names of files in it."""


def read_files(
    sealer: Sealer, groups: Sequence[FileGroup], with_atime: bool, devices: Mapping[int, int]
) -> list[list[FileOutcome]]:
    """Read, store and describe small files. Lists come out shorter where the pack had no room for more.

    `devices` as `Source.devices`.
    """
    outcomes = []
    for path, names in groups:
        done: list[FileOutcome] = []
        outcomes.append(done)
        try:
            folder = filesystem.open_folder(path)
        except OSError as error:
            done.extend(FileOutcome(None, 0, 0, 0, error) for _ in names)
            continue
        try:
            for name in names:
                if sealer.room_bytes < SMALL_FILE:
                    break
                done.append(_read_file(sealer, folder, name, with_atime, devices))
        finally:
            os.close(folder)
    return outcomes


def seal_window(sealer: Sealer, window_number: int, ranges: Sequence[tuple[int, int]]) -> SealedChunks:
    """Store chunks of a window: (offset, length) each."""
    window = sealer.window(window_number)
    return _seal(sealer, [window[offset : offset + length] for offset, length in ranges])


def seal_data(sealer: Sealer, chunks: Sequence[bytes]) -> SealedChunks:
    """Store chunks that are sent along."""
    return _seal(sealer, chunks)


def _seal(sealer: Sealer, chunks: Sequence[bytes | memoryview]) -> SealedChunks:
    added, stored = sealer.added_bytes, sealer.stored_bytes
    ids = sealer.store_all(chunks)
    return SealedChunks(ids, sealer.added_bytes - added, sealer.stored_bytes - stored)


def _read_file(sealer: Sealer, folder: int, name: bytes, with_atime: bool, devices: Mapping[int, int]) -> FileOutcome:
    added, stored = sealer.added_bytes, sealer.stored_bytes
    try:
        fd = filesystem.open_file(name, dir_fd=folder)
        try:
            status = filesystem.on_device(os.fstat(fd), devices)
            if not stat_modes.S_ISREG(status.st_mode):
                raise OSError("is no regular file any more")
            data = _read_whole(fd, status.st_size)
            if data is None:
                return FileOutcome(None, 0, 0, 0, None)
            xattrs = filesystem.read_xattrs(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return FileOutcome(None, 0, 0, 0, error)
    node = node_json(
        quote_name(name),
        status,
        user=filesystem.user_name(status.st_uid),
        group=filesystem.group_name(status.st_gid),
        size=len(data),
        content=[sealer.store(data)] if data else [],
        xattrs=xattrs,
        atime_ns=status.st_atime_ns if with_atime else None,
    )
    return FileOutcome(node, len(data), sealer.added_bytes - added, sealer.stored_bytes - stored, None)


def _read_whole(fd: int, size: int) -> bytes | None:
    """All of a file that should have `size` bytes; None if it is larger than a small file."""
    if size > SMALL_FILE:
        return None
    data = os.read(fd, size + 1)
    if len(data) == size:
        return data
    # It grew or shrank since it was looked at: read on until the end.
    parts = [data]
    total = len(data)
    while part := os.read(fd, SMALL_FILE + 1 - total):
        parts.append(part)
        total += len(part)
        if total > SMALL_FILE:
            return None
    return b"".join(parts)
