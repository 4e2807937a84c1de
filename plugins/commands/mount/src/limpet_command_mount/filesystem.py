"""The file system that the kernel asks: what is at hand is answered at once, the rest in threads.

Handlers that are missing (`flush`, `fsync`, `access`, ...) are answered with ENOSYS by pyfuse3: the kernel then takes
success for granted, and never asks again.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
import trio
from limpet.errors import LimpetError
from limpet.format.fields import Fields
from limpet.format.node import decode_node, extended_attributes_of, link_target_of
from limpet.operations.browse import Browser, Entry, FileReader, Listing, TreeFolder, ViewFolder
from limpet.progress import Reporter
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FUSEError,
    InodeT,
    ReaddirToken,
    RequestContext,
    readdir_reply,
)

from limpet_command_mount.attributes import no_entry
from limpet_command_mount.entries import Entries
from limpet_command_mount.folders_ahead import FoldersAhead
from limpet_command_mount.inodes import Directory
from limpet_command_mount.page_cache import PageCache
from limpet_command_mount.threads import AbandonedError, Threads

THREADS = 32
REFRESH_LIMIT_S = 2.0
"""Then who looks into a view sees it as it was."""
STILL_MOUNTED_S = 0.1
"""So often who waits for a view is asked after: while he waits, `umount --lazy` does not end the mount."""
SMALL_FILE_BLOBS = 1000
"""The blobs of a file up to this many are looked up at once, without a thread."""
MOST_TOLD = 1000
"""After so many warnings things may be told once more: what is damaged may be large, and a mount stays for months."""

P = ParamSpec("P")
T = TypeVar("T")


def _answered(
    handler: Callable[Concatenate[Filesystem, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Filesystem, P], Coroutine[Any, Any, T]]:
    """A decorator: whatever goes wrong is an input/output error to who asked, and the mount lives on."""

    @functools.wraps(handler)
    async def answered(self: Filesystem, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await handler(self, *args, **kwargs)
        except FUSEError:
            raise
        except AbandonedError:
            raise FUSEError(errno.EIO) from None
        except LimpetError as error:
            self.tell(error)
            raise FUSEError(errno.EIO) from error
        except Exception as error:  # a node as no program writes it must not take the mount away from all others
            self.tell(LimpetError(f"unexpected {type(error).__name__} in {handler.__name__}: {error}"))
            raise FUSEError(errno.EIO) from error

    return answered


class Filesystem(pyfuse3.Operations):
    """A repository's tree, read-only. All handlers run in one thread; it never waits for the storage."""

    supports_dot_lookup = True
    enable_writeback_cache = False

    def __init__(
        self,
        browser: Browser,
        reporter: Reporter,
        *,
        owner_root: bool = False,
        is_mounted: Callable[[], bool] = lambda: True,
    ) -> None:
        """`is_mounted` says whether it still has a mount point, and waits for nothing."""
        super().__init__()
        self._browser = browser
        self._reporter = reporter
        self._is_mounted = is_mounted
        self._entries = Entries(browser.root, owner_root=owner_root)
        self._inodes = self._entries.inodes
        self.threads = Threads(THREADS)
        self._ahead = FoldersAhead(self.threads.start)
        self._next_handle = 1
        self._files: dict[int, tuple[InodeT, FileReader]] = {}
        self._is_refreshing = False
        self.pages = PageCache()
        self._folders: dict[int, tuple[Directory, Listing | list[Entry]]] = {}
        self._told: set[str] = set()

    def tell(self, error: LimpetError) -> None:
        """Warn of what cannot be read, each thing once."""
        text = str(error)
        if text not in self._told:
            if len(self._told) >= MOST_TOLD:
                self._told.clear()
            self._told.add(text)
            self._reporter.warning(text)

    # -- names and attributes -----------------------------------------------------------------------------------

    @_answered
    async def lookup(self, parent_inode: InodeT, name: bytes, ctx: RequestContext) -> EntryAttributes:
        directory = self._inodes.directory(parent_inode)
        if name == b"." or directory is None:
            if name == b".":  # a client of NFS comes back with a number alone
                return await self._seen_attributes(parent_inode)
            raise FUSEError(errno.ESTALE if self._inodes.place(parent_inode) is None else errno.ENOTDIR)
        if name == b"..":
            return await self._seen_attributes((directory.parent or self._inodes.root).inode)
        if isinstance(directory.folder, ViewFolder):
            await self._refresh()
            entry = directory.folder.lookup(name)
            if entry is None:
                raise FUSEError(errno.ENOENT)
            return self._entries.in_view(directory, entry)
        listing = await self._listing(directory.folder)
        if not listing.knows_names:  # a large folder has to be taken apart first
            await self.threads.run(listing.number, name)
        place = listing.number(name)
        return no_entry() if place is None else self._entries.in_snapshot(directory, place, name, listing.fields(place))

    async def _seen_attributes(self, inode: InodeT) -> EntryAttributes:
        known = self._inodes.counted(inode)
        if known is not None:
            self._inodes.seen(known)
        return await self._attributes(inode)

    @_answered
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        return await self._attributes(inode)

    async def _attributes(self, inode: InodeT) -> EntryAttributes:
        directory = self._inodes.directory(inode)
        if directory is not None and isinstance(directory.folder, ViewFolder):
            await self._refresh()
            return self._entries.of_top(directory, directory.folder.node())
        if directory is not None and directory.node is not None:
            return self._entries.of_top(directory, directory.node)
        link = self._entries.link(inode)
        if link is not None:
            return self._entries.of_link(inode, link)
        return self._entries.of_node(inode, await self._fields(inode))

    @_answered
    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, lookups in inode_list:
            self._inodes.forget(inode, lookups)

    @_answered
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> bytes:
        link = self._entries.link(inode)
        if link is not None:
            return link.link_target
        return link_target_of(await self._fields(inode))

    # -- folders ------------------------------------------------------------------------------------------------

    @_answered
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        directory = self._inodes.directory(inode)
        if directory is None:
            raise FUSEError(errno.ESTALE)
        if isinstance(directory.folder, ViewFolder):
            await self._refresh()
            return self._handle(self._folders, (directory, list(directory.folder.entries())))
        self._ahead.opened(directory)
        return self._handle(self._folders, (directory, await self._listing(directory.folder)))

    @_answered
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        directory, listing = self._folders[fh]
        if start_id < 2:
            for number, folder in enumerate((directory, directory.parent or directory)):
                if number >= start_id:
                    dot = EntryAttributes()
                    dot.st_ino, dot.st_mode = folder.inode, pyfuse3.ModeT(0o040555)
                    if not readdir_reply(token, pyfuse3.FileNameT(b".." if number else b"."), dot, number + 1):
                        return
            start_id = 2
        if isinstance(listing, Listing):
            self._reply_with_nodes(token, directory, listing, start_id - 2)
        else:
            self._reply_with_views(token, directory, listing, start_id - 2)

    def _reply_with_nodes(self, token: ReaddirToken, directory: Directory, listing: Listing, place: int) -> None:
        attributes_of = self._entries.in_snapshot
        for name, fields in listing.iterate(place):
            entry = attributes_of(directory, place, name, fields)
            place += 1
            if not readdir_reply(token, name, entry, place + 2):
                self._inodes.forget(entry.st_ino, 1)
                if not listing.is_whole:  # while the kernel works on what it has
                    self.threads.start(partial(listing.take_ahead, place))
                return

    def _reply_with_views(self, token: ReaddirToken, directory: Directory, entries: list[Entry], place: int) -> None:
        for shown in entries[place:]:
            entry = self._entries.in_view(directory, shown)
            place += 1
            if not readdir_reply(token, pyfuse3.FileNameT(shown.name), entry, place + 2):
                self._inodes.forget(entry.st_ino, 1)
                return

    @_answered
    async def releasedir(self, fh: FileHandleT) -> None:
        del self._folders[fh]

    # -- content ------------------------------------------------------------------------------------------------

    @_answered
    async def open(self, inode: InodeT, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise FUSEError(errno.EROFS)
        node = decode_node(await self._fields(inode))
        if len(node.content or ()) <= SMALL_FILE_BLOBS:
            reader = self._browser.open(node)
        else:
            reader = await self.threads.run(self._browser.open, node)
        return FileInfo(fh=self._handle(self._files, (inode, reader)), keep_cache=True)

    @_answered
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        inode, reader = self._files[fh]
        data = reader.read_at_hand(off, size)
        if data is None:
            data = await self.threads.run(reader.read, off, size)
            if not reader.is_in_sequence:
                self.pages.offer(inode, reader, off)
        return data

    @_answered
    async def release(self, fh: FileHandleT) -> None:
        self._files.pop(fh)[1].close()

    # -- the rest -----------------------------------------------------------------------------------------------

    @_answered
    async def getxattr(self, inode: InodeT, name: bytes, ctx: RequestContext) -> bytes:
        for known, value in await self._extended_attributes(inode):
            if known == name:
                return value
        raise FUSEError(pyfuse3.ENOATTR)

    @_answered
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> list[pyfuse3.XAttrNameT]:
        return [pyfuse3.XAttrNameT(name) for name, _ in await self._extended_attributes(inode)]

    async def _extended_attributes(self, inode: InodeT) -> list[tuple[bytes, bytes]]:
        directory = self._inodes.directory(inode)
        if self._entries.link(inode) is not None or (directory is not None and directory.node is not None):
            return []
        return extended_attributes_of(await self._fields(inode))

    @_answered
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        await self._refresh()
        size_bytes = await self.threads.run(lambda: self._browser.size_bytes)
        status = pyfuse3.StatvfsData()
        status.f_bsize = status.f_frsize = 4096
        status.f_blocks = -(-size_bytes // 4096)
        status.f_namemax = 255
        return status

    # -- what they share ----------------------------------------------------------------------------------------

    async def _fields(self, inode: InodeT) -> Fields:
        """The node of an inode inside of a snapshot."""
        directory = self._inodes.directory(inode)
        if directory is None:
            where = self._inodes.place(inode)
            if where is None:
                raise FUSEError(errno.ESTALE)
            directory, place = where
        else:
            assert directory.parent is not None, "the root and the roots of snapshots have nodes"
            directory, place = directory.parent, directory.place
        folder = directory.folder
        if not isinstance(folder, TreeFolder):
            raise FUSEError(errno.ESTALE)
        listing = await self._listing(folder)
        try:
            return listing.fields(place) if listing.has_taken(place) else await self.threads.run(listing.fields, place)
        except IndexError as error:
            raise FUSEError(errno.ESTALE) from error

    async def _listing(self, folder: TreeFolder) -> Listing:
        listing = folder.listing_at_hand()
        return await self.threads.run(folder.listing) if listing is None else listing

    async def _refresh(self) -> None:
        """Have the views follow the repository; a storage that takes long for that only makes them old."""
        if not self._browser.is_due or self._is_refreshing:
            return
        self._is_refreshing = True
        async with trio.open_nursery() as waiting:
            waiting.start_soon(self._give_up_once_unmounted, waiting.cancel_scope)
            with suppress(AbandonedError), trio.move_on_after(REFRESH_LIMIT_S):
                await self.threads.run(self._look)
            waiting.cancel_scope.cancel()

    async def _give_up_once_unmounted(self, waiting: trio.CancelScope) -> None:
        is_mounted = True
        while is_mounted:
            await trio.sleep(STILL_MOUNTED_S)
            is_mounted = self._is_mounted()
        waiting.cancel()

    def _look(self) -> None:
        try:
            self._browser.refresh()
        finally:
            self._is_refreshing = False

    def _handle(self, handles: dict[int, T], value: T) -> FileHandleT:
        handle = self._next_handle
        self._next_handle += 1
        handles[handle] = value
        return FileHandleT(handle)
