"""What workers do in a dump: open the blobs of a portion and render them as the archive has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.crypto import MasterKey
from limpet.ids import BlobId
from limpet.operations.dump.archive import Rendering
from limpet.repository.blobs import BlobOpener
from limpet.repository.workers import SharedBuffers

MIB = 1024 * 1024
SEALED_BYTES = 9 * MIB
"""The first part of a buffer: what was read; any blob that restic makes, with its gaps, is smaller."""
BUFFER_BYTES = 2 * SEALED_BYTES
"""The rest takes what was rendered."""

SealedBlob = tuple[int, int, int, bytes]
"""`(position in the buffer, sealed length, plain length or 0, id)`."""


class Rendered(NamedTuple):
    """What became of a portion: in the buffer, or where it has no room for it, here.

    `records` are those of `Whole` with the sizes of the entries; `parts` checksum, plain size and size of each. If
    blobs are damaged, only their numbers.
    """

    size_bytes: int = 0
    data: bytes | None = None
    records: Sequence[tuple[bytes, int]] = ()
    parts: Sequence[tuple[int, int, int]] = ()
    damaged: Sequence[int] = ()


class EntryTask(NamedTuple):
    """Small entries: their paths, joined by NUL bytes, their nodes as JSON, and the numbers of the blobs of each."""

    paths: bytes
    nodes: bytes
    numbers: list[list[int]]


class DumpWorker:
    """The state of a worker."""

    def __init__(self, key: MasterKey, buffers: SharedBuffers, rendering: Rendering) -> None:
        self.opener = BlobOpener(key)
        self.buffers = buffers
        self.rendering = rendering


def render(
    worker: DumpWorker,
    buffer: int,
    blobs: Sequence[SealedBlob],
    given: Mapping[int, bytes],
    task: EntryTask | list[int],
) -> Rendered:
    """Render entries, or the content that these blobs are; `given` are plaintexts of blobs that are not in the buffer.

    IntegrityError for a node that makes no sense.
    """
    view = worker.buffers.view(buffer)
    sealed = [
        (view[start : start + length], BlobId(blob_id), plain)
        for number, (start, length, plain, blob_id) in enumerate(blobs)
        if number not in given
    ]
    opened = worker.opener.open_all(sealed)
    contents: list[bytes] = []
    damaged: list[int] = []
    for number in range(len(blobs)):
        content = given[number] if number in given else next(opened)
        if isinstance(content, IntegrityError):
            damaged.append(number)
            content = b""
        contents.append(content)
    if damaged:
        return Rendered(damaged=damaged)
    if isinstance(task, EntryTask):
        return _render_entries(worker, view[SEALED_BYTES:], contents, task)
    pieces: list[Buffer] = []
    parts = []
    for number in task:
        part = worker.rendering.part(contents[number])
        pieces.append(part.data)
        parts.append((part.checksum, part.plain_bytes, len(part.data)))
    return _put(view[SEALED_BYTES:], pieces)._replace(parts=parts)


def _render_entries(worker: DumpWorker, room: memoryview, contents: Sequence[bytes], task: EntryTask) -> Rendered:
    whole = worker.rendering.whole
    pieces: list[Buffer] = []
    records = []
    nodes = orjson.loads(task.nodes)
    for path, fields, numbers in zip(task.paths.split(b"\0"), nodes, task.numbers, strict=True):
        rendered, record = whole(path, fields, [contents[number] for number in numbers])
        pieces += rendered
        records.append((record, sum(map(len, rendered))))
    return _put(room, pieces)._replace(records=records)


def _put(room: memoryview, pieces: list[Buffer]) -> Rendered:
    size_bytes = sum(map(len, pieces))
    data = b"".join(pieces)
    if size_bytes > len(room):
        return Rendered(size_bytes, data)
    room[:size_bytes] = data
    return Rendered(size_bytes)
