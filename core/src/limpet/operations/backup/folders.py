"""Folders on their way to become trees: a folder is done when its last entry is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from limpet import filesystem
from limpet.contracts.source import StatLike
from limpet.format.gojson import quote_name
from limpet.format.statnode import node_json
from limpet.format.tree import encode_tree
from limpet.ids import BlobId
from limpet.operations.backup.compare import Comparer, Fields, Unchanged, attributes, same_node

Slot = bytes | Unchanged | None
"""An entry's node; None until it is done, and for good if it cannot be saved."""


@dataclass(slots=True)
class FolderInWork:
    """One folder: a slot for each entry, in the order of their names."""

    path: bytes
    name: bytes
    status: StatLike
    parent: FolderInWork | None
    slot: int
    """Which of the parent's slots is this folder's."""
    real_path: bytes | None = None
    """Where it is in the file system; None for a made-up one."""
    old_fields: Fields | None = None
    old_tree: BlobId | None = None
    old_count: int = -1
    """How many entries the parent's tree has; -1 without one."""
    slots: list[Slot] = field(default_factory=list)
    pending: int = 0
    is_above_targets: bool = False
    """Such a folder is held until every source has said that its targets are good."""
    started_s: float = field(default_factory=time.monotonic)


class FolderFinisher:
    """Turns finished folders into trees, upwards until one still waits for an entry."""

    def __init__(
        self,
        comparer: Comparer,
        save_tree: Callable[[bytes], BlobId],
        finished: Callable[[FolderInWork, BlobId, bool], None],
        *,
        with_atime: bool,
    ) -> None:
        self.targets_in_work = 0
        """Targets in folders above them that are not settled yet."""
        self._comparer = comparer
        self._save_tree = save_tree
        self._finished = finished
        self._with_atime = with_atime

    def settle(self, folder: FolderInWork, slot: int, node: Slot) -> None:
        """One entry of the folder is done; None leaves it out."""
        folder.slots[slot] = node
        self.release(folder)

    def release(self, folder: FolderInWork) -> None:
        """One thing less to wait for in the folder."""
        current: FolderInWork | None = folder
        while current is not None:
            current.pending -= 1
            self.targets_in_work -= current.is_above_targets
            if current.pending:
                return
            current = self._finish(current)

    def _finish(self, folder: FolderInWork) -> FolderInWork | None:
        """Save the folder's tree and put its node into the parent, which is returned."""
        tree_id = self._tree(folder)
        folder.slots = []
        is_unchanged = False
        if folder.parent is not None:
            node = folder.parent.slots[folder.slot] = self._node(folder, tree_id)
            is_unchanged = self._is_unchanged(folder, tree_id, node)
        self._finished(folder, tree_id, is_unchanged)
        return folder.parent

    @staticmethod
    def _is_unchanged(folder: FolderInWork, tree_id: BlobId, node: Slot) -> bool:
        """Whether the folder's node says what the parent's says."""
        if not isinstance(node, bytes):
            return True
        old = folder.old_fields
        return old is not None and folder.old_tree == tree_id and same_node(old, node)

    def _tree(self, folder: FolderInWork) -> BlobId:
        slots = folder.slots
        if (
            folder.old_tree is not None
            and len(slots) == folder.old_count
            and all(slot.__class__ is Unchanged for slot in slots)
        ):
            return folder.old_tree
        return self._save_tree(encode_tree([self._encoded(slot) for slot in slots if slot is not None]))

    def _encoded(self, slot: Slot) -> bytes:
        if isinstance(slot, Unchanged):
            return self.node(
                slot.name,
                slot.status,
                xattrs=attributes(slot.old),  # setting one would have changed the ctime
                content=slot.content,
                subtree=slot.subtree,
            )
        assert slot is not None
        return slot

    def node(
        self,
        name: bytes,
        status: StatLike,
        *,
        xattrs: Sequence[tuple[bytes, bytes]] = (),
        size: int | None = None,
        content: Sequence[BlobId] | None = None,
        subtree: BlobId | None = None,
        link_target: bytes | None = None,
    ) -> bytes:
        """The JSON of a node."""
        return node_json(
            quote_name(name),
            status,
            user=filesystem.user_name(status.st_uid),
            group=filesystem.group_name(status.st_gid),
            size=size,
            content=content,
            subtree=subtree,
            link_target=link_target,
            xattrs=xattrs,
            atime_ns=status.st_atime_ns if self._with_atime else None,
        )

    def _node(self, folder: FolderInWork, tree_id: BlobId) -> Slot:
        old = folder.old_fields
        if (
            old is not None
            and folder.old_tree == tree_id
            and self._comparer.same_times(folder.status, old)
            and self._comparer.same_metadata(folder.status, old)
        ):
            return Unchanged(folder.name, folder.status, old, subtree=tree_id)
        return self.node(folder.name, folder.status, xattrs=_xattrs(folder.real_path), subtree=tree_id)


def join(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder of the snapshot."""
    return folder + name if folder.endswith(b"/") else folder + b"/" + name


def _xattrs(path: bytes | None) -> Sequence[tuple[bytes, bytes]]:
    if path is None:
        return ()
    folder, _, name = path.rpartition(b"/")
    try:
        return filesystem.read_xattrs_below(folder or b"/", name) if name else filesystem.read_xattrs(path)
    except OSError:
        return ()  # it was there when its entries were read
