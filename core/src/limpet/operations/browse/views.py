"""The views: folders that exist in no snapshot, and lead to all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from limpet.format.filemode import GO_DIR, GO_SYMLINK
from limpet.format.node import Node, NodeType
from limpet.format.timestamps import Time
from limpet.operations.browse.entry import Entry, Folder
from limpet.operations.browse.layout import Layout
from limpet.repository.snapshots import StoredSnapshot

VIEW_MODE = 0o555
LINK_MODE = 0o777


@dataclass(slots=True)
class View:
    """One folder of the views, as it is at the moment: names of views, of snapshots and of links to snapshots."""

    children: dict[bytes, View | SnapshotPlace | LatestLink] = field(default_factory=dict)
    time_ns: int = 0
    """When the newest snapshot in it was made; 0 without any."""


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """A folder that is the root of a snapshot."""

    stored: StoredSnapshot


@dataclass(frozen=True, slots=True)
class LatestLink:
    """A link to the newest snapshot beside it."""

    target: bytes
    stored: StoredSnapshot


def build_views(layout: Layout, snapshots: Sequence[StoredSnapshot], *, follow_latest: bool = False) -> View:
    """The root of the views of these snapshots, which come oldest first.

    With `follow_latest` the links `latest` are folders themselves, for those who know no links.
    """
    root = View()
    for folder in layout.fixed_folders():
        _view(root, encode_path(folder).split(b"/")[1:])
    for place in layout.places(snapshots):
        *folders, name = encode_path(place.path).split(b"/")[1:]
        if not name:
            continue  # a template that leads to the root itself
        parent = _view(root, folders, place.stored.time_ns)
        if parent is None:
            continue  # in a snapshot: it cannot be shown
        if place.link_target and not follow_latest:
            parent.children[name] = LatestLink(encode_path(place.link_target), place.stored)
        else:
            parent.children[name] = SnapshotPlace(place.stored)
    return root


def encode_path(path: str) -> bytes:
    """As restic writes names, whatever the locale says; tags may hold what no locale of ours knows."""
    return path.encode(errors="surrogateescape")


def _view(root: View, path: Sequence[bytes], time_ns: int = 0) -> View | None:
    """The view at the path, made where it is missing; None where a snapshot is in the way."""
    view = root
    view.time_ns = max(view.time_ns, time_ns)
    for name in path:
        child = view.children.setdefault(name, View())
        if not isinstance(child, View):
            return None
        view = child
        view.time_ns = max(view.time_ns, time_ns)
    return view


class ViewFolder(Folder):
    """A view by its path: it has what is there whenever it is asked."""

    def __init__(
        self, path: tuple[bytes, ...], root: Callable[[], View], snapshot_folder: Callable[[StoredSnapshot], Folder]
    ) -> None:
        self.path = path
        self._root = root
        self._snapshot_folder = snapshot_folder

    def entries(self) -> Iterator[Entry]:
        for name, child in self._view().children.items():
            yield self._entry(name, child)

    def lookup(self, name: bytes) -> Entry | None:
        child = self._view().children.get(name)
        return None if child is None else self._entry(name, child)

    def node(self) -> Node:
        """The folder itself."""
        return _folder_node(self.path[-1] if self.path else b"", self._view().time_ns)

    def _view(self) -> View:
        view = self._root()
        for name in self.path:
            child = view.children.get(name)
            if not isinstance(child, View):
                return View()  # its snapshots were removed
            view = child
        return view

    def _entry(self, name: bytes, child: View | SnapshotPlace | LatestLink) -> Entry:
        match child:
            case View():
                inner = ViewFolder((*self.path, name), self._root, self._snapshot_folder)
                return Entry(name, _folder_node(name, child.time_ns), inner)
            case SnapshotPlace(stored):
                node = _folder_node(name, stored.time_ns)
                return Entry(name, node, self._snapshot_folder(stored), stored.id)
            case LatestLink(target, stored):
                return Entry(name, _link_node(name, target, stored.time_ns))


def _folder_node(name: bytes, time_ns: int) -> Node:
    time = Time(time_ns, 0)
    return Node(name, NodeType.DIR, GO_DIR | VIEW_MODE, time, time, time, _own_uid(), _own_gid())


def _link_node(name: bytes, target: bytes, time_ns: int) -> Node:
    time = Time(time_ns, 0)
    mode = GO_SYMLINK | LINK_MODE
    return Node(name, NodeType.SYMLINK, mode, time, time, time, _own_uid(), _own_gid(), links=1, link_target=target)


def _own_uid() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _own_gid() -> int:
    return os.getgid() if hasattr(os, "getgid") else 0
