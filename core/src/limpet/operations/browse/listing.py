"""What is in one folder of a snapshot: its nodes by number and by name, most of them as JSON."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress

from limpet.errors import IntegrityError, LimpetError
from limpet.format.fields import Fields
from limpet.format.filemode import NodeType
from limpet.format.node import raw_name, subtree_of
from limpet.format.tree import decode_tree_fields, encode_tree_fields, iter_tree_parts
from limpet.ids import BlobId

PART_BYTES = 32 * 1024
"""So much of a tree's JSON is decoded at once: about 80 nodes."""
FIRST_PARTS = 4
"""So many are taken apart when the tree is loaded."""
KEPT_PARTS = 12
"""Decoded parts that each large tree keeps."""
PARTS_AHEAD = 8
"""So many are taken apart for who goes through a folder: about what a kernel asks for at once."""
DECODED_FACTOR = 4
"""Decoded JSON is about so many times as large."""

_Part = tuple[list[bytes], list[Fields]]
"""Names and nodes."""

_SHOWN = {node_type.value for node_type in NodeType} - {NodeType.IRREGULAR.value, NodeType.INVALID.value}
_INLINED = (".", "/")
_IMPOSSIBLE = {b"", b".", b".."}


class Listing:
    """The nodes of a tree by number. Most of them as JSON: decoded they are four times as large. Thread-safe.

    Of a large tree only the beginning is taken apart at first, the rest when it is asked for: whoever reads a folder
    has each node decoded once.

    Left out is what cannot be shown: names with a slash, `..`, and types that nobody knows. As in restic, of a folder
    called `.` or `/` (old versions stored them) the content is shown in its place.
    """

    def __init__(self, data: bytes, load_tree: Callable[[BlobId], bytes]) -> None:
        """`load_tree` is for folders whose content is shown in their place; of up to 32 KiB all is taken apart here."""
        self.size_bytes = len(data) + min(len(data), KEPT_PARTS * PART_BYTES) * DECODED_FACTOR
        """About what it takes in memory."""
        self._load_tree = load_tree
        self._stored: Iterator[tuple[bytes, list[Fields]]] | None = iter_tree_parts(data, PART_BYTES)
        self._untaken: tuple[bytes, list[Fields]] | None = None
        self._damage: IntegrityError | None = None
        self._parts: list[bytes] = []
        self._first_numbers: list[int] = []
        self._first_names: list[bytes] = []
        self._known = 0
        self._last_name = b""
        self._is_in_order = True
        self._numbers: dict[bytes, int] | None = None
        self._decoded: OrderedDict[int, _Part] = OrderedDict()
        self._lock = threading.RLock()
        while self._stored is not None and len(self._parts) < FIRST_PARTS:
            self._take_part()

    def __len__(self) -> int:
        self._take_all()
        return self._known

    def iterate(self, start: int = 0) -> Iterator[tuple[bytes, Fields]]:
        """Names and nodes from a number on, the nodes as their JSON objects."""
        while self._is_known(start):
            part = bisect_right(self._first_numbers, start) - 1
            names, nodes = self._part(part)
            first = start - self._first_numbers[part]
            yield from zip(names[first:], nodes[first:], strict=True) if first else zip(names, nodes, strict=True)
            start = self._first_numbers[part] + len(nodes)

    def fields(self, number: int) -> Fields:
        """One node as its JSON object; IndexError if there is none of that number."""
        if not self._is_known(number):
            raise IndexError(number)
        part = bisect_right(self._first_numbers, number) - 1
        return self._part(part)[1][number - self._first_numbers[part]]

    def has_taken(self, number: int) -> bool:
        """Whether `fields` can say at once what node that is: it need not take the tree apart as far as it."""
        return number < self._known or self._stored is None

    @property
    def is_whole(self) -> bool:
        """Whether all of the tree was taken apart."""
        return self._stored is None

    def take_ahead(self, number: int) -> None:
        """Take the parts behind that of a number apart. What goes wrong shows when somebody wants them."""
        with suppress(LimpetError):
            while self._stored is not None:
                if len(self._parts) - bisect_right(self._first_numbers, number) >= PARTS_AHEAD:
                    return
                self._take_part()

    @property
    def knows_names(self) -> bool:
        """Whether `number` can tell at once."""
        return self.is_whole and (self._is_in_order or self._numbers is not None)

    def number(self, name: bytes) -> int | None:
        """The number of the node of that name."""
        self._take_all()
        if not self._is_in_order:
            if self._numbers is None:
                self._numbers = {known: number for number, (known, _) in enumerate(self.iterate())}
            return self._numbers.get(name)
        part = bisect_right(self._first_names, name) - 1
        if part < 0:
            return None
        names, _ = self._part(part)
        offset = bisect_left(names, name)
        return self._first_numbers[part] + offset if offset < len(names) and names[offset] == name else None

    def _is_known(self, number: int) -> bool:
        """Whether there is a node of that number; takes the tree apart as far as it."""
        while number >= self._known:
            if self._stored is None:
                return number < self._known  # another thread may have taken the last part meanwhile
            self._take_part()
        return True

    def _take_all(self) -> None:
        while self._stored is not None:
            self._take_part()

    def _take_part(self) -> None:
        """Take one more part of what is stored, if there is any; IntegrityError if it is damaged."""
        with self._lock:
            if self._damage is not None:
                raise IntegrityError(str(self._damage)) from self._damage
            try:
                if self._untaken is None and self._stored is not None:
                    self._untaken = next(self._stored, None)
            except IntegrityError as error:
                self._damage = error
                raise
            if self._untaken is None:
                self._stored = None
                return
            json, nodes, names = _shown(*self._untaken, self._load_tree)
            self._untaken = None  # not before: what fails here is no reason to leave the part out
            if not nodes:
                return
            if self._last_name >= names[0] or not all(map(bytes.__lt__, names, names[1:])):
                self._is_in_order = False
            self._last_name = names[-1]
            self._keep(len(self._parts), (names, nodes))
            self._parts.append(json)
            self._first_names.append(names[0])
            self._first_numbers.append(self._known)
            self._known += len(nodes)

    def _part(self, number: int) -> _Part:
        with self._lock:
            part = self._decoded.get(number)
            if part is not None:
                self._decoded.move_to_end(number)
                return part
            nodes = decode_tree_fields(self._parts[number])
            part = [raw_name(fields) for fields in nodes], nodes
            self._keep(number, part)
            return part

    def _keep(self, number: int, part: _Part) -> None:
        self._decoded[number] = part
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
        _require_objects(nodes)
        return [raw_name(fields) for fields in nodes] if all(map(_is_plain, nodes)) else None
    return names if len(names) == len(nodes) and _IMPOSSIBLE.isdisjoint(names) else None


def _require_objects(nodes: list[Fields]) -> None:
    for fields in nodes:
        if type(fields) is not dict:
            raise IntegrityError("a node is not a JSON object")


def _is_plain(fields: Fields) -> bool:
    name, word = raw_name(fields), fields.get("type")
    return type(word) is str and word in _SHOWN and b"/" not in name and b"\0" not in name and name not in _IMPOSSIBLE
