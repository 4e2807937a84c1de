"""Diff: what changed from one tree to another, and what that means in files, folders and blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from limpet.errors import LimpetError
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.node import decode_node, raw_name, subtree_of
from limpet.format.pack import BlobKind
from limpet.format.timestamps import Time
from limpet.ids import BlobId
from limpet.repository.repository import Repository

OnError = Callable[[LimpetError], None]


class UnknownBlobError(LimpetError):
    """A tree names a blob that is in no index: it is counted without its size."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a path; that of a folder ends with a slash.

    `modifier` is restic's: `+` added, `-` removed, `M` content, `U` metadata, `T` type, `?` (after `M`) content changed
    while all metadata stayed the same: bitrot?
    """

    path: bytes
    modifier: str


@dataclass(slots=True)
class DiffCounts:
    """How much was added, or removed. `size_bytes` is that of the blobs' plaintexts."""

    files: int = 0
    folders: int = 0
    others: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    size_bytes: int = 0

    def add(self, fields: Fields) -> None:
        """Count an entry."""
        node_type = fields.get("type")
        self.files += node_type == "file"
        self.folders += node_type == "dir"
        self.others += node_type not in {"file", "dir"}


@dataclass(slots=True)
class DiffResult:
    """The sums of a comparison."""

    changed_files: int = 0
    added: DiffCounts = field(default_factory=DiffCounts)
    removed: DiffCounts = field(default_factory=DiffCounts)


def diff(
    repository: Repository,
    first: BlobId,
    second: BlobId,
    *,
    with_metadata: bool = False,
    on_change: Callable[[Change], None] | None = None,
    on_error: OnError | None = None,
) -> DiffResult:
    """What changed from the first tree to the second; each change is told in the order of the paths.

    With `with_metadata` changes of metadata alone are told, too. The index is loaded before. A folder that cannot be
    read, and a blob in no index, is told and passed over; without `on_error`, and for the two trees, it raises.
    """
    comparison = _Comparison(repository, with_metadata, on_change or _ignore, on_error or _raise)
    comparison.before.trees.add(first)
    comparison.after.trees.add(second)
    comparison.compare(b"/", first, second)
    comparison.count_blobs()
    return comparison.result


@dataclass(slots=True)
class _Blobs:
    """Ids, by kind."""

    data: set[bytes] = field(default_factory=set)
    trees: set[BlobId] = field(default_factory=set)

    def add(self, fields: Fields) -> None:
        """The blobs that an entry names itself."""
        node_type = fields.get("type")
        if node_type == "file":
            self.data.update(_content(fields))
        elif node_type == "dir":
            subtree = subtree_of(fields)
            if subtree is not None:
                self.trees.add(subtree)

    def without(self, *others: _Blobs) -> _Blobs:
        """Those that none of the others has."""
        return _Blobs(
            self.data.difference(*(one.data for one in others)), self.trees.difference(*(one.trees for one in others))
        )

    def discard(self, fields: Fields) -> None:
        """Forget the blobs that an entry names itself."""
        node_type = fields.get("type")
        if node_type == "file":
            self.data.difference_update(_content(fields))
        elif node_type == "dir":
            self.trees.discard(subtree_of(fields) or BlobId(b""))

    def __bool__(self) -> bool:
        return bool(self.data or self.trees)


class _Comparison:
    def __init__(
        self, repository: Repository, with_metadata: bool, on_change: Callable[[Change], None], on_error: OnError
    ) -> None:
        self._repository = repository
        self._with_metadata = with_metadata
        self._on_change = on_change
        self._on_error = on_error
        self.result = DiffResult()
        self.before, self.after, self.in_both = _Blobs(), _Blobs(), _Blobs()
        self._same_folders: set[BlobId] = set()

    def compare(self, prefix: bytes, first: BlobId, second: BlobId) -> None:
        """Everything in two folders; the two trees must be readable, those below them need not."""
        # A stack of our own: a path may be thousands of folders deep.
        stack = [(prefix, self._pairs(first, second))]
        while stack:
            prefix, pairs = stack[-1]
            try:
                below = next(filter(None, (self._compare_entries(prefix, *pair) for pair in pairs)), None)
            except LimpetError as error:
                if len(stack) == 1:
                    raise
                self._on_error(error)
                below = None
            if below is not None:
                stack.append(below)
            else:
                stack.pop()

    def count_blobs(self) -> None:
        """Count the blobs that only one side has; folders that both have are looked through as long as it matters."""
        removed = self.before.without(self.after, self.in_both)
        added = self.after.without(self.before, self.in_both)
        waiting = list(self._same_folders)
        seen = set(waiting)
        while waiting and (removed or added):
            try:
                for fields in self._repository.iter_tree_fields(waiting.pop()):
                    removed.discard(fields)
                    added.discard(fields)
                    subtree = subtree_of(fields)
                    if subtree is not None and subtree not in seen:
                        seen.add(subtree)
                        waiting.append(subtree)
            except LimpetError as error:
                self._on_error(error)
        self._count(removed, self.result.removed)
        self._count(added, self.result.added)

    def _pairs(self, first: BlobId, second: BlobId) -> Iterator[tuple[Fields | None, Fields | None]]:
        load = self._repository.iter_tree_fields
        return _pairs_by_name(load(first), load(second))

    def _compare_entries(
        self, prefix: bytes, one: Fields | None, other: Fields | None
    ) -> tuple[bytes, Iterator[tuple[Fields | None, Fields | None]]] | None:
        """Tell what happened to an entry; the folders to compare, if it is one."""
        if one is None or other is None:
            return self._only_in_one(prefix, one, other)
        if one == other and one.get("type") == "file":
            self.in_both.add(one)
            return None
        self.before.add(one)
        self.after.add(other)
        path = _path(prefix, other)
        modifier = self._modifier(one, other)
        if modifier:
            self._on_change(Change(path, modifier))
        if one.get("type") == other.get("type") == "dir":
            first, second = subtree_of(one), subtree_of(other)
            if first is None or second is None:
                return None
            if first == second:
                self._same_folders.add(first)
            else:
                try:
                    return path, self._pairs(first, second)
                except LimpetError as error:
                    self._on_error(error)
        return None

    def _only_in_one(
        self, prefix: bytes, one: Fields | None, other: Fields | None
    ) -> tuple[bytes, Iterator[tuple[Fields | None, Fields | None]]] | None:
        fields = one or other or {}
        (self.after if one is None else self.before).add(fields)
        path = _path(prefix, fields)
        self._on_change(Change(path, "+" if one is None else "-"))
        (self.result.added if one is None else self.result.removed).add(fields)
        subtree = subtree_of(fields) if fields.get("type") == "dir" else None
        if subtree is None:
            return None
        try:
            nodes = self._repository.iter_tree_fields(subtree)
        except LimpetError as error:
            self._on_error(error)
            return None
        return path, ((None, node) if one is None else (node, None) for node in nodes)

    def _modifier(self, one: Fields, other: Fields) -> str:
        modifier = "" if one.get("type") == other.get("type") else "T"
        if one == other:
            return modifier
        if one.get("type") == other.get("type") == "file" and one.get("content") != other.get("content"):
            self.result.changed_files += 1
            return "M?" if _same(one | {"content": None}, other | {"content": None}) else "M"
        return modifier + "U" if self._with_metadata and not _same(one, other) else modifier

    def _count(self, blobs: _Blobs, counts: DiffCounts) -> None:
        counts.data_blobs, counts.tree_blobs = len(blobs.data), len(blobs.trees)
        data = ((BlobKind.DATA, BlobId(blob_id)) for blob_id in blobs.data)
        for kind, blob_id in (*data, *((BlobKind.TREE, tree_id) for tree_id in blobs.trees)):
            place = self._repository.index.find(kind, blob_id)
            if place is not None:
                counts.size_bytes += place.data_length_bytes
            else:
                self._on_error(UnknownBlobError(f"unable to find blob size for <{kind.word}/{blob_id.hex()[:8]}>"))


def _pairs_by_name(first: Iterable[Fields], second: Iterable[Fields]) -> Iterator[tuple[Fields | None, Fields | None]]:
    """The nodes of two trees side by side, in the order of their raw names."""
    ones, others = _named(first), _named(second)
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[1], None
            one = next(ones, None)
        elif one is None or other[0] < one[0]:
            yield None, other[1]
            other = next(others, None)
        else:
            yield one[1], other[1]
            one, other = next(ones, None), next(others, None)


def _named(nodes: Iterable[Fields]) -> Iterator[tuple[bytes, Fields]]:
    return ((raw_name(fields), fields) for fields in nodes)


def _path(prefix: bytes, fields: Fields) -> bytes:
    return prefix + raw_name(fields) + (b"/" if fields.get("type") == "dir" else b"")


def _content(fields: Fields) -> list[bytes]:
    return [read.id_from_hex(text) for text in read.array(fields, "content") or ()]


def _same(one: Fields, other: Fields) -> bool:
    """Whether nothing that restic knows of differs; the same instant may be written in two zones."""
    if one == other:
        return True
    first, second = decode_node(one), decode_node(other)
    for node in (first, second):
        node.mtime, node.atime, node.ctime = Time(node.mtime.ns), Time(node.atime.ns), Time(node.ctime.ns)
        node.extended_attributes.sort()
        node.extra = {}
    return first == second


def _ignore(_change: Change) -> None:
    return


def _raise(error: LimpetError) -> None:
    raise error
