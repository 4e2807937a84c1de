"""Folders of snapshots: their trees are read when they are first looked into, and kept for a while."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from limpet.errors import RepositoryError
from limpet.format.fields import Fields
from limpet.format.filemode import NodeType
from limpet.format.node import decode_node, raw_name, subtree_of
from limpet.format.tree import decode_tree_fields, encode_tree_fields, iter_tree_parts
from limpet.ids import BlobId
from limpet.operations.browse.entry import Entry, Folder

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

PART_BYTES = 32 * 1024
"""So much of a tree's JSON is decoded at once: about 80 nodes."""
KEPT_PARTS = 4
"""Decoded parts that each large tree keeps."""
DECODED_FACTOR = 4
"""Decoded JSON is about so many times as large."""
KEPT_BYTES = 48 * 1024 * 1024
"""Trees are kept up to this, and always the one that was used last."""

_SHOWN = {node_type.value for node_type in NodeType} - {NodeType.IRREGULAR.value, NodeType.INVALID.value}
_INLINED = (".", "/")
_IMPOSSIBLE = {b"", b".", b".."}


class Listing:
    """The nodes of a tree by number. Most of them as JSON: decoded they are four times as large. Thread-safe.

    Left out is what cannot be shown: names with a slash, `..`, and types that nobody knows. As in restic, of a folder
    called `.` or `/` (old versions stored them) the content is shown in its place.
    """

    def __init__(self, tree_id: BlobId, load_tree: Callable[[BlobId], bytes]) -> None:
        self._parts: list[bytes] = []
        self._first_numbers: list[int] = []
        self._first_names: list[bytes] = []
        self._numbers: dict[bytes, int] | None = None
        self._decoded: OrderedDict[int, list[Fields]] = OrderedDict()
        self._lock = threading.Lock()
        self._size = 0
        last = b""
        is_in_order = True
        for stored in iter_tree_parts(load_tree(tree_id), PART_BYTES):
            part, nodes, names = _shown(*stored, load_tree)
            if not nodes:
                continue
            is_in_order = is_in_order and last < names[0] and all(map(bytes.__lt__, names, names[1:]))
            last = names[-1]
            self._first_numbers.append(self._size)
            self._first_names.append(names[0])
            self._parts.append(part)
            self._size += len(nodes)
            self._keep(len(self._parts) - 1, nodes)
        if not is_in_order:
            self._numbers = {raw_name(fields): number for number, fields in enumerate(self.iterate())}

    def __len__(self) -> int:
        return self._size

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        decoded = len(self._parts) if len(self._parts) <= KEPT_PARTS else KEPT_PARTS
        return sum(map(len, self._parts)) + decoded * DECODED_FACTOR * PART_BYTES

    def iterate(self, start: int = 0) -> Iterator[Fields]:
        """The nodes from a number on, as their JSON objects."""
        while start < self._size:
            part = bisect_right(self._first_numbers, start) - 1
            nodes = self._part(part)
            yield from nodes[start - self._first_numbers[part] :]
            start = self._first_numbers[part] + len(nodes)

    def fields(self, number: int) -> Fields:
        """One node as its JSON object."""
        part = bisect_right(self._first_numbers, number) - 1
        return self._part(part)[number - self._first_numbers[part]]

    def number(self, name: bytes) -> int | None:
        """The number of the node of that name."""
        if self._numbers is not None:
            return self._numbers.get(name)
        part = bisect_right(self._first_names, name) - 1
        if part < 0:
            return None
        for offset, fields in enumerate(self._part(part)):
            if raw_name(fields) == name:
                return self._first_numbers[part] + offset
        return None

    def _part(self, number: int) -> list[Fields]:
        with self._lock:
            nodes = self._decoded.get(number)
            if nodes is not None:
                self._decoded.move_to_end(number)
                return nodes
        nodes = decode_tree_fields(self._parts[number])
        self._keep(number, nodes)
        return nodes

    def _keep(self, number: int, nodes: list[Fields]) -> None:
        with self._lock:
            self._decoded[number] = nodes
            if len(self._decoded) > KEPT_PARTS:
                self._decoded.popitem(last=False)


def _shown(
    part: bytes, nodes: list[Fields], load_tree: Callable[[BlobId], bytes]
) -> tuple[bytes, list[Fields], list[bytes]]:
    """The part with what can be shown alone, and the names in it; the same objects where that is all."""
    names = _plain_names(nodes)
    if names is not None:
        return part, nodes, names
    shown: list[Fields] = []
    for fields in nodes:
        if fields.get("name") in _INLINED and fields.get("type") == NodeType.DIR.value:
            subtree = subtree_of(fields)
            inner = [] if subtree is None else decode_tree_fields(load_tree(subtree))
            shown += filter(_is_plain, inner)
        elif _is_plain(fields):
            shown.append(fields)
    # Every name once, in order: what is written is a tree.
    by_name = {raw_name(fields): fields for fields in shown}
    shown = [by_name[name] for name in sorted(by_name)]
    return encode_tree_fields(shown), shown, sorted(by_name)


def _plain_names(nodes: list[Fields]) -> list[bytes] | None:
    """The names of all nodes, if there is nothing special about any; looked at all at once, a tenth of the work."""
    try:
        text = "\0".join([fields["name"] for fields in nodes])
        if "/" in text or "\\" in text or not _SHOWN.issuperset({fields["type"] for fields in nodes}):
            raise ValueError
        names = text.encode().split(b"\0")
    except (KeyError, TypeError, ValueError):
        return [raw_name(fields) for fields in nodes] if all(map(_is_plain, nodes)) else None
    return names if len(names) == len(nodes) and _IMPOSSIBLE.isdisjoint(names) else None


def _is_plain(fields: Fields) -> bool:
    name = raw_name(fields)
    return fields.get("type") in _SHOWN and b"/" not in name and b"\0" not in name and name not in _IMPOSSIBLE


class Trees:
    """The listings of trees that were used last. Thread-safe."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lock = threading.Lock()
        self._kept: OrderedDict[BlobId, Listing] = OrderedDict()
        self._free_bytes = KEPT_BYTES

    def kept(self, tree_id: BlobId) -> Listing | None:
        """The listing if it is at hand: nothing is read."""
        with self._lock:
            listing = self._kept.get(tree_id)
            if listing is not None:
                self._kept.move_to_end(tree_id)
            return listing

    def load(self, tree_id: BlobId) -> Listing:
        """The listing; errors as `Repository.load_blob`, IntegrityError for a damaged tree."""
        listing = self.kept(tree_id)
        if listing is not None:
            return listing
        listing = Listing(tree_id, self._repository.trees.read)
        with self._lock:
            if tree_id not in self._kept:
                self._kept[tree_id] = listing
                self._free_bytes -= listing.size_bytes
                while self._free_bytes < 0 and len(self._kept) > 1:
                    _, dropped = self._kept.popitem(last=False)
                    self._free_bytes += dropped.size_bytes
        return listing


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
        return self._trees.kept(self._require_tree())

    def entries(self) -> Iterator[Entry]:
        return map(self._entry, self.listing().iterate())

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
