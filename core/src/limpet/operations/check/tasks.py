"""What workers do in a check: open packs and trees, and say what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.crypto import MasterKey
from limpet.format.filemode import NodeType
from limpet.format.native import ClaimTable
from limpet.format.pack import BlobKind, PackedBlob, decode_header, encode_header, sealed_header
from limpet.format.tree import decode_tree_fields
from limpet.ids import ID_SIZE, BlobId, StorageId
from limpet.operations.check.windows import PackBlob, Window
from limpet.repository.blob_index import BlobIndex
from limpet.repository.blobs import BlobOpener
from limpet.repository.workers import SharedBuffers

_TYPES = frozenset(node_type.value for node_type in NodeType) - {"", "irregular"}


class LoadedTree(NamedTuple):
    """A sealed tree in a buffer; sizes in bytes."""

    tree_id: BlobId
    offset: int
    length: int
    plain_length: int


class TreeReport(NamedTuple):
    """What a tree refers to, and what is wrong with it.

    `data` are its files' blobs that no tree before it has named, if they were asked for. `damage` says why the tree
    cannot be read at all.
    """

    tree_id: BlobId
    subtrees: list[BlobId]
    data: list[BlobId]
    errors: list[str]
    damage: str = ""


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """All that workers need; made before they are forked and inherited by them."""

    key: MasterKey
    index: BlobIndex
    buffers: SharedBuffers
    data_seen: ClaimTable | None
    """For telling each blob of data once; None where nobody wants to know them."""


class PackChecker:
    """The state of a worker."""

    def __init__(self, plan: CheckPlan) -> None:
        self.plan = plan
        self.opener = BlobOpener(plan.key)
        self._pack: tuple[StorageId, Sequence[PackBlob]] | None = None

    def blobs_of(self, pack_id: StorageId) -> Sequence[PackBlob]:
        """The pack's blobs by offset. The windows of a pack come one after the other, so the last answer is kept."""
        if self._pack is None or self._pack[0] != pack_id:
            self._pack = pack_id, self.plan.index.table.pack_blobs(pack_id)
        return self._pack[1]


def check_trees(checker: PackChecker, buffer: int, trees: Sequence[LoadedTree]) -> list[TreeReport]:
    """Open and look through trees that the parent has loaded."""
    view = checker.plan.buffers.view(buffer)
    return [_check_tree(checker, tree, view[tree.offset : tree.offset + tree.length]) for tree in trees]


def look_through(tree_id: BlobId, data: bytes, plan: CheckPlan) -> TreeReport:
    """What the tree with this plaintext refers to, and what is wrong with it; IntegrityError if it is no tree."""
    report = TreeReport(tree_id, [], [], [])
    contains = plan.index.table.contains
    wants_data = plan.data_seen is not None
    last_name = None
    for node in decode_tree_fields(data):
        name = node.get("name")
        if not isinstance(name, str) or not name:
            report.errors.append("node with empty name")
        elif name == last_name:
            report.errors.append(f'node "{name}" appears twice')
        last_name = name
        # Most nodes are files whose content is known: they are done here, anything else is looked at closely.
        if wants_data or node.get("type") != "file" or not _knows_all(contains, node.get("content")):
            _look_at_node(node, report, plan)
    return report


def check_window(checker: PackChecker, buffer: int, pack_id: StorageId, size_bytes: int, window: Window) -> list[str]:
    """What is wrong with the window of a pack of this size, which the parent has loaded."""
    return look_at_window(
        checker, checker.plan.buffers.view(buffer)[: window.length_bytes], pack_id, size_bytes, window
    )


def look_at_window(
    checker: PackChecker, data: memoryview, pack_id: StorageId, size_bytes: int, window: Window
) -> list[str]:
    """What is wrong with the blobs in the window, and in the last one with the header."""
    errors = []
    start = window.start
    blobs = checker.blobs_of(pack_id)[window.first_blob : window.end_blob]
    sealed = (
        (data[offset - start : offset - start + length], BlobId(blob_id), plain_length)
        for _, blob_id, offset, length, plain_length in blobs
    )
    for (_, blob_id, offset, length, _), opened in zip(blobs, checker.opener.open_all(sealed), strict=True):
        if offset - start + length > data.nbytes:
            errors.append(f"blob {blob_id.hex()}: lies beyond the end of the pack")
        elif isinstance(opened, IntegrityError):
            errors.append(f"blob {blob_id.hex()}: {opened}")
    if window.end == size_bytes:
        errors.extend(_compare_header(checker, data, size_bytes, checker.plan.index.pack_blobs(pack_id)))
    return errors


def _check_tree(checker: PackChecker, tree: LoadedTree, sealed: Buffer) -> TreeReport:
    try:
        data = checker.opener.open(sealed, tree.tree_id, tree.plain_length)
        return look_through(tree.tree_id, data, checker.plan)
    except IntegrityError as error:
        return TreeReport(tree.tree_id, [], [], [], str(error))


def _compare_header(
    checker: PackChecker, tail: memoryview, size_bytes: int, expected: Sequence[PackedBlob]
) -> list[str]:
    try:
        header = checker.opener.box.open(sealed_header(tail, size_bytes))
        if header == encode_header(expected):
            return []
        listed = decode_header(header, size_bytes)
    except IntegrityError as error:
        return [f"pack header cannot be read: {error}"]
    except ValueError:
        return ["index for pack contains gaps or overlapping blobs"]
    unlisted = [f"blob {one.id.hex()} is not in the pack header" for one in set(expected) - set(listed)]
    return unlisted + [f"blob {one.id.hex()} is not in the index" for one in set(listed) - set(expected)]


def _look_at_node(node: dict[str, Any], report: TreeReport, plan: CheckPlan) -> None:
    node_type = node.get("type")
    if node_type == "file":
        _look_at_content(node, report, plan)
    elif node_type == "dir":
        subtree = _blob_id(node.get("subtree"))
        if subtree is None:
            report.errors.append(f'dir node "{node.get("name")}" has no subtree')
        else:
            report.subtrees.append(subtree)
    elif node_type not in _TYPES:
        report.errors.append(f'node "{node.get("name")}" with invalid type "{node_type}"')


def _look_at_content(node: dict[str, Any], report: TreeReport, plan: CheckPlan) -> None:
    content = node.get("content")
    if not isinstance(content, list):
        report.errors.append(f'file "{node.get("name")}" has nil blob list')
        return
    contains, data_seen = plan.index.table.contains, plan.data_seen
    for number, text in enumerate(content):
        blob_id = _blob_id(text)
        if blob_id is None:
            report.errors.append(f'file "{node.get("name")}" blob {number} has no valid ID')
        elif not contains(BlobKind.DATA.value, blob_id):
            report.errors.append(f'file "{node.get("name")}" blob {text} not found in index')
        elif data_seen is not None and data_seen.claim(blob_id):
            report.data.append(blob_id)


def _knows_all(contains: Callable[[int, bytes], bool], content: object) -> bool:
    """Whether the content is a list of blobs that the index has."""
    if type(content) is not list:
        return False
    try:
        return all(contains(0, bytes.fromhex(text)) for text in content)
    except (TypeError, ValueError):
        return False


def _blob_id(text: object) -> BlobId | None:
    try:
        raw = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return BlobId(raw) if len(raw) == ID_SIZE and any(raw) else None
