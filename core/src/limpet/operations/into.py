"""Files of a snapshot into a destination: a database, a device, whatever a source came from."""

from __future__ import annotations

import os
import stat as stat_modes
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

from limpet.contracts.destination import Destination, Piece, StoredFile, StoredStatus
from limpet.errors import DestinationError, NotFoundError
from limpet.format.chunker import ZERO_CHUNK
from limpet.format.fields import Fields
from limpet.format.filemode import st_mode_from_go
from limpet.format.node import NodeType, decode_node
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.dump.archive import PlainWriter
from limpet.operations.dump.entries import Entry, entry_of
from limpet.operations.dump.pipeline import Pipeline
from limpet.operations.dump.portions import contents
from limpet.operations.walk import walk_fields
from limpet.repository.blob_index import data_length
from limpet.repository.repository import Repository

FEW_BLOBS = 4
"""A file of so few blobs is read before workers would have been started."""


@dataclass(frozen=True, slots=True)
class IntoResult:
    """What was received: files, folders and links, and bytes of content."""

    files: int
    size_bytes: int


def restore_into(
    repository: Repository,
    tree_id: BlobId,
    paths: Sequence[str],
    destination: Destination,
    *,
    receiving: Callable[[StoredFile], None] = lambda _: None,
) -> IntoResult:
    """Feed the destination what it wants of the files at or below the first of the paths that has any.

    `receiving` is called before each. NotFoundError if nothing is there; DestinationError if it is not taken; errors
    of the repository as they are. The caller closes the destination.
    """
    finds = (_find(repository, tree_id, path, trees=destination.takes_trees) for path in paths)
    found = next(filter(None, finds), None)
    if found is None:
        path = " or ".join(paths)
        raise NotFoundError(
            f"{path}: no file in the snapshot; name it as SNAPSHOT:/PATH, `limpet ls` shows what there is"
        )
    wanted = destination.wanted(list(found))
    if unknown := [name for name in wanted if name not in found]:
        raise DestinationError(f"the destination wants a file that the snapshot does not hold: {unknown[0]}")
    size_bytes = 0
    with ExitStack() as stack:
        reader = _Reader(repository, stack)
        if any(len(found[name].get("content") or ()) > FEW_BLOBS for name in wanted):
            # Forks: before there is a command that is fed, whose pipe the workers would keep open for ever.
            reader.start_workers()
        for name in wanted:
            file = reader.stored_file(name, found[name], with_status=destination.takes_trees)
            receiving(file)
            destination.receive(file)
            size_bytes += file.size_bytes
    destination.finish()
    return IntoResult(len(wanted), size_bytes)


def _find(repository: Repository, tree_id: BlobId, path: str, *, trees: bool) -> dict[str, Fields]:
    """Files at the path and below it; with `trees` all else there, too. By path, each folder before what is in it."""
    wanted = [os.fsencode(name) for name in path.split("/") if name not in {"", "."}]
    depth = len(wanted)

    def is_on_the_way(found: bytes) -> bool:
        return found.split(b"/")[1:][:depth] == wanted[: found.count(b"/")]

    walked = walk_fields(repository, tree_id, descend=lambda found, _: is_on_the_way(found))
    return {
        os.fsdecode(found): fields
        for found, fields in walked
        if found.count(b"/") >= depth
        and is_on_the_way(found)
        and (fields.get("type") == NodeType.FILE.value or (trees and found.count(b"/") > depth))
    }


class _Reader:
    """Content of files. Workers end with the stack."""

    def __init__(self, repository: Repository, stack: ExitStack) -> None:
        self._repository = repository
        self._stack = stack
        self._pipeline: Pipeline | None = None
        self._is_taken = False
        """The pipeline gives one content at a time; whoever asks for another meanwhile reads it blob by blob."""

    def start_workers(self) -> None:
        """From now on they do the work where it is much."""
        self._pipeline = self._stack.enter_context(Pipeline(self._repository, PlainWriter()))

    def stored_file(self, path: str, fields: Fields, *, with_status: bool) -> StoredFile:
        entry = entry_of(self._repository, os.fsencode(path), fields)
        return StoredFile(path, entry.size_bytes, lambda: self._pieces(entry), _status(fields) if with_status else None)

    def _pieces(self, entry: Entry) -> Iterator[Piece]:
        for is_zero, blobs in groupby(entry.blobs, lambda blob: blob[0] == ZERO_CHUNK):
            group = list(blobs)
            if is_zero:
                yield Piece(sum(data_length(place) for _, place in group), None)
            elif self._pipeline is None or self._is_taken or len(group) <= FEW_BLOBS:
                for blob_id, _ in group:
                    data = self._repository.load_blob(BlobKind.DATA, blob_id)
                    yield Piece(len(data), data)
            else:
                self._is_taken = True
                try:
                    for piece in self._pipeline.pieces(contents(group)):
                        yield Piece(len(piece), memoryview(piece))
                finally:
                    self._is_taken = False


def _status(fields: Fields) -> StoredStatus:
    node = decode_node(fields)
    mode = st_mode_from_go(node.mode)
    return StoredStatus(
        mode,
        node.uid,
        node.gid,
        node.mtime.ns,
        node.link_target if stat_modes.S_ISLNK(mode) else None,
        (node.device_id, node.inode) if node.links > 1 and stat_modes.S_ISREG(mode) else None,
    )
