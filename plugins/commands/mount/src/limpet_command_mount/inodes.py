"""Inode numbers: what each stands for can be told as long as its folder is known, so files need no table.

A number is that of a folder, and the place of the entry in it: 39 bits of a hash of the folder's path (below a
snapshot: of the snapshot's id and the path in it) and 24 bits, 0 for the folder itself. So numbers are the same in each
mount, and no two folders share one even where names repeat. Names of one file (hard links) share a number: the highest
bit is set, and the first of the names that was seen stands for all whose content is the same.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from hashlib import blake2b
from typing import NamedTuple

from limpet.format.fields import Fields
from limpet.format.node import Node
from limpet.operations.browse import TreeFolder, ViewFolder
from pyfuse3 import ROOT_INODE, FUSEError, InodeT

PLACE_BITS = 24
LAST_PLACE = (1 << PLACE_BITS) - 1
HARD_LINK = 1 << 63
_NUMBER_MASK = (1 << 39) - 1
_HARD_LINK_MASK = HARD_LINK - 1

KEPT_FORGOTTEN = 100_000
"""Folders and hard links that the kernel has forgotten are remembered up to this: an NFS client may know them."""


class Directory:
    """A folder that was seen: where it is, and what is in it. `place` is that in its parent's listing."""

    __slots__ = ("children", "folder", "lookups", "name", "node", "number", "parent", "place", "snapshot_number")

    def __init__(
        self,
        number: int,
        parent: Directory | None,
        name: bytes,
        folder: ViewFolder | TreeFolder,
        *,
        place: int = -1,
        node: Node | None = None,
    ) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.folder = folder
        self.place = place
        self.node = node
        """Of views and roots of snapshots; others have theirs in their parent's listing."""
        inside = parent is not None and parent.snapshot_number
        self.snapshot_number: int = inside or (number if isinstance(folder, TreeFolder) else 0)
        """The number of the snapshot's root; 0 for views."""
        self.children = 0
        self.lookups = 0

    @property
    def inode(self) -> InodeT:
        """The folder's own inode number."""
        return InodeT(self.number << PLACE_BITS) if self.number else ROOT_INODE


class Place(NamedTuple):
    """An entry that is no folder: the folder it is in, and its place there."""

    directory: Directory
    place: int


class HardLink:
    """A file with several names that was seen by one of them."""

    __slots__ = ("lookups", "number", "place")

    def __init__(self, number: int, place: Place) -> None:
        self.number = number
        self.place = place
        self.lookups = 0


class Inodes:
    """All folders and hard links that were seen and not dropped since. For one thread."""

    def __init__(self, root: ViewFolder) -> None:
        self.root = Directory(0, None, b"", root, node=root.node())
        self._directories = {0: self.root}
        self._forgotten: OrderedDict[int, None] = OrderedDict()
        self._hard_links: dict[int, HardLink] = {}

    def directory(self, inode: int) -> Directory | None:
        """The folder whose inode this is; None for what is no folder or is not known."""
        if inode == ROOT_INODE:
            return self.root
        return None if inode & LAST_PLACE or inode & HARD_LINK else self._directories.get(inode >> PLACE_BITS)

    def place(self, inode: int) -> Place | None:
        """Where the entry that is no folder is; None for a folder, and for what is not known."""
        if inode & HARD_LINK:
            link = self._hard_links.get(inode)
            return None if link is None else link.place
        directory = self._directories.get(inode >> PLACE_BITS)
        place = inode & LAST_PLACE
        return None if directory is None or not place else Place(directory, place - 1)

    @staticmethod
    def file(directory: Directory, place: int) -> InodeT:
        """The inode number of an entry that is neither folder nor hard link; FUSEError beyond the last place."""
        if place >= LAST_PLACE:
            raise FUSEError(errno.EOVERFLOW)
        return InodeT(directory.number << PLACE_BITS | place + 1)

    def hard_link(self, directory: Directory, place: int, fields: Fields) -> InodeT:
        """The inode number of a file with several names, which the kernel is told once more.

        The content counts: it may have changed while its names were backed up one after the other.
        """
        file = directory.snapshot_number, fields.get("device_id", 0), fields["inode"]
        content = fields.get("content") or (), fields.get("linktarget")
        digest = blake2b(repr((file, *content)).encode(), digest_size=8).digest()
        number = HARD_LINK | int.from_bytes(digest) & _HARD_LINK_MASK
        link = self._hard_links.get(number)
        if link is None:
            link = self._hard_links[number] = HardLink(number, Place(directory, place))
        self.seen(link)
        return InodeT(number)

    def child(
        self,
        parent: Directory,
        name: bytes,
        folder: ViewFolder | TreeFolder,
        *,
        place: int = -1,
        node: Node | None = None,
        identity: bytes = b"",
    ) -> Directory:
        """The folder of that name in the parent; `identity` is the id of the snapshot whose root it is."""
        path = b"%d/%b/%b" % (parent.number, identity, name)
        number = int.from_bytes(blake2b(path, digest_size=8).digest()) & _NUMBER_MASK
        while True:
            known = self._directories.get(number)
            if known is None:
                known = self._directories[number] = Directory(number, parent, name, folder, place=place, node=node)
                parent.children += 1
                return known
            if number and known.parent is parent and known.name == name:
                if node is not None:  # of a view, and may be newer
                    known.node, known.folder = node, folder
                return known
            number = number + 1 & _NUMBER_MASK

    def seen(self, known: Directory | HardLink) -> None:
        """The kernel was told the number once more."""
        if not known.lookups:
            self._forgotten.pop(known.number, None)
        known.lookups += 1

    def counted(self, inode: int) -> Directory | HardLink | None:
        """The folder or hard link of that number; of other files nothing is kept."""
        return self._hard_links.get(inode) if inode & HARD_LINK else self.directory(inode)

    def forget(self, inode: int, lookups: int) -> None:
        """The kernel has forgotten the number so many times."""
        known = self.counted(inode)
        if known is None or not known.number:
            return
        known.lookups = max(0, known.lookups - lookups)
        if not known.lookups:
            self._forgotten[known.number] = None
            if len(self._forgotten) > KEPT_FORGOTTEN:
                self._drop(next(iter(self._forgotten)))

    def _drop(self, number: int) -> None:
        del self._forgotten[number]
        if number & HARD_LINK:
            del self._hard_links[number]
            return
        directory = self._directories[number]
        if directory.children:
            self._forgotten[number] = None  # later: those in it are still known
            return
        del self._directories[number]
        if directory.parent is not None:
            directory.parent.children -= 1
