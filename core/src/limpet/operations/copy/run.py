"""Copies snapshots one after the other; what they share is copied once, and many are saved at once.

The order is the one that every crash may interrupt: packs, the index that names them, and only then the snapshots.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from limpet.contracts.backend import FileKind
from limpet.errors import IntegrityError, RepositoryError
from limpet.format import fields as read
from limpet.format.native import ClaimTable
from limpet.format.pack import BlobKind
from limpet.format.snapshot import encode_snapshot
from limpet.format.tree import decode_tree_fields
from limpet.ids import BlobId, StorageId, short
from limpet.operations.copy.needs import Needs
from limpet.operations.copy.transfer import READ_BYTES, Transfer, transfer_saver
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot

BATCH_PACKS = 100
BATCH_S = 60.0
"""Snapshots are saved when so many packs have been copied and so many seconds have passed, and at the end."""


@dataclass(frozen=True, slots=True)
class CopiedSnapshot:
    """A snapshot and what it is called in the destination."""

    source: StoredSnapshot
    new_id: StorageId


class CopyEvents(Protocol):
    """Is told how a copy goes on."""

    def started(self, source: StoredSnapshot) -> None:
        """A snapshot is about to be looked through."""

    def planned(self, blobs: int, stored_bytes: int, packs: int) -> None:
        """What of it is not in the destination yet: number of blobs, their sealed size, packs they are in."""

    def saving(self, count: int) -> None:
        """So many snapshots are complete, and are saved next."""

    def saved(self, copied: CopiedSnapshot) -> None:
        """One of them is saved."""


class NoEvents:
    """Is told, and keeps quiet."""

    def started(self, source: StoredSnapshot) -> None:
        return

    def planned(self, blobs: int, stored_bytes: int, packs: int) -> None:
        return

    def saving(self, count: int) -> None:
        return

    def saved(self, copied: CopiedSnapshot) -> None:
        return


def copy_snapshots(
    source: Repository,
    destination: Repository,
    snapshots: Iterable[StoredSnapshot],
    reporter: Reporter | None = None,
    events: CopyEvents | None = None,
) -> list[CopiedSnapshot]:
    """Copy the snapshots and every blob below them that the destination lacks. The caller holds both locks.

    The indexes of both are loaded. Chunks stay as they are. IntegrityError or BackendError for a blob that cannot be
    read: then no snapshot is saved of those that were still to be, and what was copied is there for the next try.
    """
    copy = _Copy(source, destination, reporter or SilentReporter(), events or NoEvents())
    try:
        for snapshot in snapshots:
            copy.add(snapshot)
        copy.save_snapshots()
    except BaseException as error:
        copy.abandon(is_interrupted=isinstance(error, KeyboardInterrupt))
        raise
    copy.close()
    return copy.copied


class _Copy:
    def __init__(self, source: Repository, destination: Repository, reporter: Reporter, events: CopyEvents) -> None:
        self._source = source
        self._destination = destination
        self._reporter = reporter
        self._events = events
        self.copied: list[CopiedSnapshot] = []
        self._complete: list[StoredSnapshot] = []
        self._batch_bytes = 0
        self._batch_started = time.monotonic()
        self._trees_seen = ClaimTable()
        self._data_seen = ClaimTable()
        self._saver = transfer_saver(source, destination)
        self._transfer = Transfer(source, self._saver)
        source.trees.open_ahead = self._saver.open_trees

    def add(self, snapshot: StoredSnapshot) -> None:
        """Copy what the snapshot needs; save it and those before it if that was much."""
        self._events.started(snapshot)
        if snapshot.snapshot.tree is None:
            raise RepositoryError(f"snapshot {short(snapshot.id)} has nil tree")
        self._copy_tree(snapshot.snapshot.tree)
        self._complete.append(snapshot)
        is_large = self._batch_bytes >= BATCH_PACKS * self._destination.settings.pack_size_bytes
        if is_large and time.monotonic() - self._batch_started >= BATCH_S:
            self.save_snapshots()

    def save_snapshots(self) -> None:
        """Store all that is in work, and then the snapshots that are complete."""
        self._saver.flush()
        if self._complete:
            self._events.saving(len(self._complete))
        for source in self._complete:
            original = source.snapshot.original or source.id
            snapshot = replace(source.snapshot, parent=None, original=original)
            new_id = self._destination.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
            self.copied.append(CopiedSnapshot(source, new_id))
            self._events.saved(self.copied[-1])
        self._complete = []
        self._batch_bytes = 0
        self._batch_started = time.monotonic()

    def close(self) -> None:
        """End workers and threads."""
        self._source.trees.open_ahead = None
        self._transfer.close()
        self._saver.close()

    def abandon(self, *, is_interrupted: bool) -> None:
        """Stop at once; packs already stored get their index."""
        self._source.trees.open_ahead = None
        if is_interrupted:
            self._source.interrupt()
            self._destination.interrupt()
        self._saver.abandon()
        self._transfer.close()

    # -- one snapshot -------------------------------------------------------------------------------------------

    def _copy_tree(self, root: BlobId) -> None:
        found = _Found(Needs(), set())
        waiting = [root]
        while waiting:
            tree_id = waiting.pop()
            if self._trees_seen.claim(tree_id):
                # The last folder first: trees are stored after those below them, so they are read in one direction.
                waiting += self._copy_one_tree(tree_id, found)
        packs_done = len(found.tree_packs - found.needs.packs)
        packs = len(found.needs.packs) + packs_done
        self._events.planned(found.blobs, found.stored_bytes, packs)
        self._batch_bytes += found.stored_bytes
        progress = Progress("packs copied", files_done=packs_done, files_total=packs, is_counter=True)
        self._reporter.begin(progress)
        try:
            self._transfer.run(found.needs.ranges(READ_BYTES), lambda: _count(progress))
        finally:
            self._reporter.end()

    def _copy_one_tree(self, tree_id: BlobId, found: _Found) -> list[BlobId]:
        """Store the tree and note the data that is needed; the trees below it."""
        data = self._source.trees.read(tree_id)
        place = self._source.index.table.find(BlobKind.TREE.value, tree_id)
        if place is not None and not self._destination.index.contains(BlobKind.TREE, tree_id):
            found.add_tree(place)
            # The very bytes: another way to write the same nodes would be another tree.
            self._saver.save_tree(data)
        subtrees: list[BlobId] = []
        has_it = self._destination.index.table.contains
        for node in decode_tree_fields(data):
            for text in read.array(node, "content") or ():
                blob_id = read.id_from_hex(text)
                if self._data_seen.claim(blob_id) and not has_it(BlobKind.DATA.value, blob_id):
                    place = self._source.index.table.find(BlobKind.DATA.value, blob_id)
                    if place is None:
                        raise IntegrityError(
                            f"data blob {blob_id.hex()} is in no index of the source repository; "
                            "`check` tells more, `repair snapshots` makes the snapshots go without it"
                        )
                    found.add_data(blob_id, place)
            subtree = read.identifier(node, "subtree")
            if subtree is not None:
                subtrees.append(BlobId(subtree))
        return subtrees


@dataclass(slots=True)
class _Found:
    """What a snapshot needs that is not in the destination."""

    needs: Needs
    tree_packs: set[bytes]
    blobs: int = 0
    stored_bytes: int = 0

    def add_tree(self, place: tuple[bytes, int, int, int]) -> None:
        """A tree that is stored at once."""
        self.tree_packs.add(place[0])
        self.blobs += 1
        self.stored_bytes += place[2]

    def add_data(self, blob_id: bytes, place: tuple[bytes, int, int, int]) -> None:
        """A blob of data, to be fetched with others of its pack."""
        self.needs.add(blob_id, place)
        self.blobs += 1
        self.stored_bytes += place[2]


def _count(progress: Progress) -> None:
    progress.files_done += 1
