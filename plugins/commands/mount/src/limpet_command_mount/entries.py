"""What the kernel is told of each entry: its attributes, under a number that it keeps."""

from __future__ import annotations

import errno

from limpet.format.fields import Fields
from limpet.format.node import Node, subtree_of
from limpet.operations.browse import Entry, TreeFolder, ViewFolder
from pyfuse3 import EntryAttributes, FUSEError, InodeT

from limpet_command_mount.attributes import node_attributes, view_attributes
from limpet_command_mount.inodes import LAST_PLACE, Directory, Inodes


class Entries:
    """The entries of views and of folders of snapshots. Nothing is read from the storage. For one thread."""

    def __init__(self, root: ViewFolder, *, owner_root: bool) -> None:
        self.inodes = Inodes(root)
        self._owner_root = owner_root
        self._links: dict[int, bytes] = {}

    def in_view(self, directory: Directory, entry: Entry) -> EntryAttributes:
        """Of an entry of a view, whose number the kernel knows from now on."""
        if entry.folder is None:
            return self.of_link(self._link_inode(directory, entry.name), entry.node)
        assert isinstance(entry.folder, ViewFolder | TreeFolder)
        identity = entry.snapshot_id or b""
        child = self.inodes.child(directory, entry.name, entry.folder, node=entry.node, identity=identity)
        self.inodes.seen(child)
        return self.of_top(child, entry.node)

    def in_snapshot(self, directory: Directory, place: int, name: bytes, fields: Fields) -> EntryAttributes:
        """Of an entry of a snapshot's folder, whose number the kernel knows from now on."""
        if fields["type"] == "dir":
            folder = directory.folder
            assert isinstance(folder, TreeFolder)
            child = self.inodes.child(directory, name, folder.inner(subtree_of(fields)), place=place)
            self.inodes.seen(child)
            inode = child.inode
        elif fields.get("links", 0) > 1 and fields.get("inode"):
            inode = self.inodes.hard_link(directory, place, fields)
        else:
            inode = self.inodes.file(directory, place)
        return node_attributes(fields, inode, owner_root=self._owner_root)

    def of_node(self, inode: InodeT, fields: Fields) -> EntryAttributes:
        """Of what is in a snapshot."""
        return node_attributes(fields, inode, owner_root=self._owner_root)

    def of_top(self, directory: Directory, node: Node) -> EntryAttributes:
        """Of a view, or the root of a snapshot."""
        return view_attributes(node, directory.inode, owner_root=self._owner_root)

    def of_link(self, inode: InodeT, node: Node) -> EntryAttributes:
        """Of a link in a view."""
        return view_attributes(node, inode, owner_root=self._owner_root)

    def link(self, inode: InodeT) -> Node | None:
        """The node of a link in a view, as it is now; None for what is no such link."""
        name = self._links.get(inode)
        where = None if name is None else self.inodes.place(inode)
        if name is None or where is None or not isinstance(where.directory.folder, ViewFolder):
            return None
        entry = where.directory.folder.lookup(name)
        if entry is None:
            raise FUSEError(errno.ENOENT)
        return entry.node

    def _link_inode(self, directory: Directory, name: bytes) -> InodeT:
        """The number of a link in a view: there are few, so their names are kept."""
        place = LAST_PLACE - 1
        while True:
            inode = self.inodes.file(directory, place)
            if self._links.setdefault(inode, name) == name:
                return inode
            place -= 1
