"""Folders of snapshots: their trees are read when they are first looked into, and kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from limpet.errors import LimpetError, RepositoryError
from limpet.format.fields import Fields
from limpet.format.filemode import NodeType
from limpet.format.node import decode_node
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.browse.entry import Entry, Folder
from limpet.operations.browse.listing import PART_BYTES, Listing

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

KEPT_BYTES = 48 * 1024 * 1024
"""Trees are kept up to this, and always the one that was used last."""
AHEAD_BYTES = 1024 * 1024
"""Trees larger than that are not loaded on suspicion."""


class Trees:
    """The listings of trees that were used last. Thread-safe."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlobId, Listing] = OrderedDict()
        self._loading: dict[BlobId, threading.Event] = {}
        self._free_bytes = KEPT_BYTES

    def kept(self, tree_id: BlobId) -> Listing | None:
        """The listing if it was read before."""
        with self._lock:
            listing = self._kept.get(tree_id)
            if listing is not None:
                self._kept.move_to_end(tree_id)
            return listing

    def at_hand(self, tree_id: BlobId) -> Listing | None:
        """The same, or out of what was read with its neighbours, if it is small: nothing is read now."""
        listing = self.kept(tree_id)
        if listing is not None or (self.size_bytes(tree_id) or 0) > PART_BYTES:
            return listing
        try:
            listing = Listing(self._read_at_hand(tree_id), self._read_at_hand)
        except LimpetError:
            return None  # whoever loads it learns why
        self._keep(tree_id, listing)
        return listing

    def is_at_hand(self, tree_id: BlobId) -> bool:
        """Whether nothing has to be read for it."""
        return self.kept(tree_id) is not None or self._repository.trees.is_at_hand(tree_id)

    def _read_at_hand(self, tree_id: BlobId) -> bytes:
        data = self._repository.trees.read_at_hand(tree_id)
        if data is None:
            raise RepositoryError(f"tree {tree_id.hex()} is not at hand")
        return data

    def load(self, tree_id: BlobId) -> Listing:
        """The listing; errors as `Repository.load_blob`, IntegrityError for a damaged tree.

        Waits while another thread loads the same.
        """
        while True:
            with self._lock:
                listing = self._kept.get(tree_id)
                if listing is not None:
                    self._kept.move_to_end(tree_id)
                    return listing
                loaded = self._loading.get(tree_id)
                if loaded is None:
                    loaded = self._loading[tree_id] = threading.Event()
                    break
            loaded.wait()
        try:
            listing = Listing(self._repository.trees.read(tree_id), self._repository.trees.read)
            self._keep(tree_id, listing)
        finally:
            with self._lock:
                del self._loading[tree_id]
            loaded.set()
        return listing

    def size_bytes(self, tree_id: BlobId) -> int | None:
        """Size of the tree's JSON; None if no index knows it."""
        location = self._repository.index.find(BlobKind.TREE, tree_id)
        return None if location is None else location.data_length_bytes

    def _keep(self, tree_id: BlobId, listing: Listing) -> None:
        with self._lock:
            known = self._kept.pop(tree_id, None)
            self._kept[tree_id] = listing
            self._free_bytes -= listing.size_bytes - (0 if known is None else known.size_bytes)
            while self._free_bytes < 0 and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._free_bytes += dropped.size_bytes


class TreeFolder(Folder):
    """A folder of a snapshot, by its tree."""

    def __init__(self, tree_id: BlobId | None, trees: Trees) -> None:
        self.tree_id = tree_id
        self._trees = trees

    def listing(self) -> Listing:
        """What is in it; read from the storage where it is not at hand."""
        return self._trees.load(self._require_tree())

    def listing_at_hand(self) -> Listing | None:
        """What is in it, if that can be said at once."""
        return self._trees.at_hand(self._require_tree())

    def is_worth_loading_ahead(self) -> bool:
        """Whether the tree is neither at hand nor large: it may turn out that nobody wants it."""
        if self.tree_id is None or self._trees.is_at_hand(self.tree_id):
            return False
        size = self._trees.size_bytes(self.tree_id)
        return size is not None and size <= AHEAD_BYTES

    def entries(self) -> Iterator[Entry]:
        return (self._entry(fields) for _, fields in self.listing().iterate())

    def lookup(self, name: bytes) -> Entry | None:
        listing = self.listing()
        number = listing.number(name)
        return None if number is None else self._entry(listing.fields(number))

    def _entry(self, fields: Fields) -> Entry:
        node = decode_node(fields)
        return Entry(node.name, node, self.inner(node.subtree) if node.type is NodeType.DIR else None)

    def inner(self, tree_id: BlobId | None) -> TreeFolder:
        """A folder in it, by its tree."""
        return TreeFolder(tree_id, self._trees)

    def _require_tree(self) -> BlobId:
        if self.tree_id is None:
            raise RepositoryError("the folder has no tree")
        return self.tree_id
