"""Walks the trees of a snapshot in restic's order and tells a visitor what is to be restored.

Nothing a tree says is trusted: what cannot be is reported and left out, and the walk goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from limpet.errors import IntegrityError, LimpetError, RepositoryError
from limpet.format.filemode import NodeType
from limpet.ids import BlobId
from limpet.operations.restore.names import invalid_name
from limpet.operations.restore.options import Selector
from limpet.operations.restore.record import Entry
from limpet.operations.restore.target import join

TreeLoader = Callable[[BlobId], Iterator[Entry]]
ErrorReport = Callable[[bytes, Exception], None]
"""`(path in the snapshot, what is wrong with it)`."""


@dataclass(slots=True)
class WalkedFolder:
    """A folder of the snapshot while the walk is in it. `path` is relative, empty for the root."""

    path: bytes
    node: Entry | None
    parent: WalkedFolder | None
    selected: bool
    nodes: Iterator[Entry] | None = None
    names: set[bytes] = field(default_factory=set)
    """Every name that the tree holds, chosen or not."""
    has_restored: bool = False
    """Whether something in it or below is restored."""
    is_complete: bool = True
    """Whether its tree could be read to the end and every name in it was sound."""
    is_ready: bool = False
    """For the visitor: the folder is there."""
    is_new: bool = False
    """For the visitor: nothing was in it before."""
    is_lost: bool = False
    """For the visitor: the folder cannot be restored, and nothing in it."""


class Visitor(Protocol):
    """What a walk tells."""

    def enter_folder(self, folder: WalkedFolder) -> None:
        """A folder that is itself chosen, the root included; its content follows. It may be set `is_lost`."""

    def visit(self, folder: WalkedFolder, node: Entry) -> None:
        """A chosen entry that is no folder."""

    def leave_folder(self, folder: WalkedFolder) -> None:
        """All of a folder was told, and it or something in it is restored."""


class Walk:
    """One walk through the trees below a tree, as deep as they go."""

    def __init__(self, load_tree: TreeLoader, select: Selector | None, visitor: Visitor, report: ErrorReport) -> None:
        self._load_tree = load_tree
        self._select = select
        self._visitor = visitor
        self._report = report
        self.found_invalid_names = False

    def run(self, tree_id: BlobId) -> None:
        """Walk; what is wrong with single nodes or trees is reported."""
        root = WalkedFolder(b"", None, None, selected=True)
        self._visitor.enter_folder(root)
        if root.is_lost:
            return
        root.nodes = self._load_tree(tree_id)
        open_folders = [root]
        while open_folders:
            folder = open_folders[-1]
            below = self._next_folder(folder)
            if below is not None:
                open_folders.append(below)
                continue
            open_folders.pop()
            self._leave(folder)

    def _leave(self, folder: WalkedFolder) -> None:
        if folder.parent is not None and (folder.selected or folder.has_restored):
            folder.parent.has_restored = True
        folder.nodes = None
        if (folder.has_restored or (folder.selected and folder.node is not None)) and not folder.is_lost:
            self._visitor.leave_folder(folder)

    def _next_folder(self, folder: WalkedFolder) -> WalkedFolder | None:
        """Visit entries until a folder comes whose content is to be walked; None at the end."""
        if folder.nodes is None:
            return None
        select, visit, names = self._select, self._visitor.visit, folder.names
        try:
            for node in folder.nodes:
                name = node.name
                reason = invalid_name(name)
                if reason is None and name in names:
                    reason = "the folder has that name twice"
                if reason is not None:
                    self._refuse(folder, name, reason)
                    continue
                names.add(name)
                kind = node.type
                selected, may_lead = True, True
                if select is not None:
                    selected, may_lead = select(b"/" + join(folder.path, name), kind is NodeType.DIR)
                if kind is NodeType.DIR:
                    below = self._enter(folder, node, selected, may_lead)
                    if below is not None:
                        return below
                elif selected:
                    folder.has_restored = True
                    try:
                        visit(folder, node)
                    except IntegrityError as error:  # a field that makes no sense costs this entry alone
                        self._report(b"/" + join(folder.path, name), error)
        except LimpetError as error:
            folder.is_complete = False
            self._report(b"/" + folder.path, error)
        return None

    def _refuse(self, folder: WalkedFolder, name: bytes, reason: str) -> None:
        folder.is_complete = False
        self.found_invalid_names = True
        self._report(b"/" + folder.path, RepositoryError(f"invalid child node name {name!r}: {reason}"))

    def _enter(self, folder: WalkedFolder, node: Entry, selected: bool, may_lead: bool) -> WalkedFolder | None:
        path = join(folder.path, node.name)
        below = WalkedFolder(path, node, folder, selected)
        subtree = node.subtree
        if subtree is None:
            self._report(b"/" + path, RepositoryError("the snapshot has no tree for this folder"))
            return None
        if selected:
            self._visitor.enter_folder(below)
        if may_lead and not below.is_lost:
            below.nodes = self._load_tree(subtree)
        return below
