"""Which trees are loaded together: neighbours in a pack with one request, several requests for one task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from limpet.ids import BlobId, StorageId
from limpet.repository.blob_index import BlobLocation

MAX_GAP_BYTES = 64 * 1024
"""Bytes between two trees that are rather read than skipped with another request."""
MAX_TREES = 512
"""A task has no more trees than this: others are waiting for work."""

PlacedTree = tuple[BlobId, BlobLocation]


@dataclass(slots=True)
class TreeRange:
    """A part of a pack and the trees in it that are wanted, by offset."""

    pack_id: StorageId
    offset_bytes: int
    length_bytes: int
    trees: list[PlacedTree]


def batches(trees: Iterable[PlacedTree], limit_bytes: int) -> Iterator[list[TreeRange]]:
    """All the trees, in ranges of no more than the limit together; a tree above the limit is alone."""
    batch: list[TreeRange] = []
    size = count = 0
    for one in _ranges(trees, limit_bytes):
        if batch and (size + one.length_bytes > limit_bytes or count + len(one.trees) > MAX_TREES):
            yield batch
            batch, size, count = [], 0, 0
        batch.append(one)
        size += one.length_bytes
        count += len(one.trees)
    if batch:
        yield batch


def _ranges(trees: Iterable[PlacedTree], limit_bytes: int) -> Iterator[TreeRange]:
    current: TreeRange | None = None
    for tree in sorted(trees, key=lambda one: (one[1].pack_id, one[1].offset_bytes)):
        place = tree[1]
        if current is not None:
            end = current.offset_bytes + current.length_bytes
            length = max(end, place.offset_bytes + place.length_bytes) - current.offset_bytes
            if (
                place.pack_id == current.pack_id
                and place.offset_bytes - end <= MAX_GAP_BYTES
                and length <= limit_bytes
                and len(current.trees) < MAX_TREES
            ):
                current.length_bytes = length
                current.trees.append(tree)
                continue
            yield current
        current = TreeRange(place.pack_id, place.offset_bytes, place.length_bytes, [tree])
    if current is not None:
        yield current
