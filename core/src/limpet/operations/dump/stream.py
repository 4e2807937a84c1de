"""What is dumped, in order: entries, each followed by its content, loaded ahead within bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from limpet.errors import RepositoryError
from limpet.format.node import Node, NodeType
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.repository.repository import Repository

AHEAD_BYTES = 64 * 1024 * 1024
"""Content that is loaded or being loaded while what comes before it is written."""
AHEAD_ITEMS = 512


class Writable(Protocol):
    """Where a dump goes: anything that takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take all of the bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that is dumped under its path without a leading slash. The size is that of the content to come."""

    path: bytes
    node: Node
    size_bytes: int


@dataclass(slots=True)
class _Loading:
    blob: Future[bytes]
    size_bytes: int
    uses: int = 0


def entry_of(repository: Repository, path: bytes, node: Node) -> Entry:
    """The entry; RepositoryError if a blob of its content is in no index, so that nothing is cut without a word.

    The size is counted from the blobs: an archive must state what will come, not what a node says.
    """
    size_bytes = 0
    for blob_id in _content(node):
        place = repository.index.find(BlobKind.DATA, blob_id)
        if place is None:
            raise RepositoryError(
                f"{path.decode('utf-8', 'backslashreplace')}: data blob {blob_id.hex()} is in no index; "
                "was a pack or an index lost?"
            )
        size_bytes += place.data_length_bytes
    return Entry(path, node, size_bytes)


def stream(
    repository: Repository, entries: Iterable[Entry], *, ahead_bytes: int = AHEAD_BYTES
) -> Iterator[Entry | bytes]:
    """Each entry and after it its content, verified, blob by blob. Errors as `Repository.load_blob`."""
    waiting: deque[Entry | BlobId] = deque()
    loading: dict[BlobId, _Loading] = {}
    loading_bytes = 0
    with ThreadPoolExecutor(max(1, repository.backend.properties.connections), "limpet-dump") as threads:

        def load(blob_id: BlobId) -> _Loading:
            place = repository.index.find(BlobKind.DATA, blob_id)
            size_bytes = place.data_length_bytes if place is not None else 0
            return _Loading(threads.submit(repository.load_blob, BlobKind.DATA, blob_id), size_bytes)

        def next_piece() -> Entry | bytes:
            nonlocal loading_bytes
            item = waiting.popleft()
            if isinstance(item, Entry):
                return item
            one = loading[item]
            one.uses -= 1
            if not one.uses:
                del loading[item]
                loading_bytes -= one.size_bytes
            return one.blob.result()

        try:
            for item in _items(entries):
                if not isinstance(item, Entry):
                    # A blob that repeats within reach (holes, copies) is loaded and kept once.
                    if item not in loading:
                        loading[item] = load(item)
                        loading_bytes += loading[item].size_bytes
                    loading[item].uses += 1
                waiting.append(item)
                while loading_bytes > ahead_bytes or len(waiting) > AHEAD_ITEMS:
                    yield next_piece()
            while waiting:
                yield next_piece()
        finally:
            threads.shutdown(cancel_futures=True)


def _items(entries: Iterable[Entry]) -> Iterator[Entry | BlobId]:
    for entry in entries:
        yield entry
        yield from _content(entry.node)


def _content(node: Node) -> list[BlobId]:
    return (node.content or []) if node.type is NodeType.FILE else []
