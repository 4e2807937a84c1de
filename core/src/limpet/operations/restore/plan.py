"""Decides for every entry of the snapshot what is to be done, makes the folders, and has all done that needs no data.

Symlinks, empty files, comparisons with what is there: the workers do it while the walk goes on. What is left in the
end is which blobs go where (`Needs`).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from limpet.errors import RepositoryError
from limpet.format.filemode import NodeType
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.restore import tasks
from limpet.operations.restore.needs import Needs
from limpet.operations.restore.options import Overwrite
from limpet.operations.restore.record import Entry
from limpet.operations.restore.run import RestoreError, Run
from limpet.operations.restore.target import join
from limpet.operations.restore.taskqueue import Batch
from limpet.operations.restore.traverse import WalkedFolder
from limpet.repository.blob_index import BlobLocation

BATCH_SIZE = 128
COMPARE_BYTES = 256 * 1024 * 1024
"""A worker reads about this much in one task, so that it can be stopped, and many can work on one file."""
_SPECIALS = {NodeType.SYMLINK, NodeType.FIFO, NodeType.DEV, NodeType.CHARDEV}

LinkKey = tuple[NodeType, int, int]
"""Type, inode and device of the file system: nodes that share them were one file."""


@dataclass(frozen=True, slots=True)
class HardLink:
    """A further name of a file that is restored under another one."""

    folder: bytes
    name: bytes
    first_folder: bytes
    first_name: bytes


@dataclass(slots=True)
class _Existing:
    """A regular file that is compared with the node's content."""

    folder: bytes
    record: bytes
    name: bytes
    ordinal: int
    status: os.stat_result
    blobs: list[tuple[BlobId, BlobLocation]]
    matches: bytearray
    portions_left: int = 0


class Planner:
    """The visitor that plans. `hard_links`, `folders` and `surplus` are for the end, in the order to take them."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.needs = Needs()
        self.hard_links: list[HardLink] = []
        self.folders: list[tuple[bytes, bytes]] = []
        """`(path, record)`, what is deeper first."""
        self.surplus: list[tuple[bytes, bytes]] = []
        """`(folder, name)` of what is there and not in the snapshot."""
        self._first_names: dict[LinkKey, tuple[bytes, bytes]] = {}
        queue = run.queue
        self._empty = Batch(queue, BATCH_SIZE, tasks.create_empty_files, self._files_made)
        self._specials = Batch(queue, BATCH_SIZE, tasks.create_specials, self._specials_made)
        self._created = Batch(queue, BATCH_SIZE, tasks.create_files, self._files_created)
        self._unchanged = Batch(queue, BATCH_SIZE, tasks.finish_files, lambda _, failures: run.files_failed(failures))

    def finish(self) -> None:
        """Wait until everything that was begun during the walk is done."""
        self.run.queue.drain()  # comparisons decide about files
        for batch in (self._empty, self._specials, self._created, self._unchanged):
            batch.flush()
        self.run.queue.drain()

    # -- folders ------------------------------------------------------------------------------------------------

    def enter_folder(self, folder: WalkedFolder) -> None:
        """Make the folder."""
        if folder.node is not None:
            self.run.expect()
        self._make_ready(folder)

    def leave_folder(self, folder: WalkedFolder) -> None:
        """Remember what is to be done at the end, when nothing in it changes any more."""
        if self.run.options.delete and folder.is_ready and not folder.is_new and folder.is_complete:
            self._find_surplus(folder)
        if folder.node is not None:
            self.folders.append((folder.path, folder.node.record()))

    def _make_ready(self, folder: WalkedFolder) -> bool:
        """Whether the folder is there, made now if need be with all above it; failures are reported once."""
        missing = []
        above: WalkedFolder | None = folder
        while above is not None and not above.is_ready and not above.is_lost:
            missing.append(above)
            above = above.parent
        for each in reversed(missing):
            parent = each.parent
            if parent is None:
                each.is_new = not self.run.target.exists
            elif parent.is_lost:
                each.is_lost = True
                continue
            else:
                self._make(each, parent)
            each.is_ready = not each.is_lost
        return folder.is_ready

    def _make(self, folder: WalkedFolder, parent: WalkedFolder) -> None:
        assert folder.node is not None
        name = folder.node.name
        try:
            if self.run.options.dry_run:
                status = None if parent.is_new else self.run.target.stat(parent.path, name)
                folder.is_new = status is None or not stat.S_ISDIR(status.st_mode)
            else:
                folder.is_new = self.run.target.make_folder(parent.path, name)
        except OSError as error:
            folder.is_lost = True
            reason = f"cannot make the folder, nothing in it is restored: {error.strerror}"
            self.run.report(b"/" + folder.path, RestoreError(reason))

    def _find_surplus(self, folder: WalkedFolder) -> None:
        select = self.run.options.select
        try:
            present = os.listdir(self.run.target.open_folder(folder.path))
        except OSError as error:
            self.run.report(b"/" + folder.path, RestoreError(f"cannot list the folder: {error.strerror}"))
            return
        for text in sorted(present):
            name = os.fsencode(text)
            if name in folder.names:
                continue
            # As in restic, only what the selection would restore may be deleted.
            if select is None or select(b"/" + join(folder.path, name), False)[0]:
                self.surplus.append((folder.path, name))

    # -- everything else ----------------------------------------------------------------------------------------

    def visit(self, folder: WalkedFolder, node: Entry) -> None:
        """Plan one entry."""
        if node.type is NodeType.FILE:
            self.run.result.restored.append(0)
        if not self._make_ready(folder):
            return
        try:
            existing = None if folder.is_new else self.run.target.stat(folder.path, node.name)
        except OSError as error:
            self.run.report(b"/" + join(folder.path, node.name), RestoreError(str(error.strerror)))
            return
        first = self._first_name(folder, node)
        if first is not None:
            self._plan_link(HardLink(folder.path, node.name, *first), self._may_replace(node, existing))
        elif node.type is NodeType.FILE:
            self._plan_file(folder, node, existing)
        elif node.type in _SPECIALS:
            self._plan_special(folder, node, existing)
        else:
            self.run.expect()
            location = b"/" + join(folder.path, node.name)
            self.run.report(location, RestoreError(f"filetype {node.type.value!r} cannot be restored"))

    def _plan_special(self, folder: WalkedFolder, node: Entry, existing: os.stat_result | None) -> None:
        run = self.run
        run.expect()
        location = b"/" + join(folder.path, node.name)
        if not self._may_replace(node, existing):
            run.skip(location, 0)
            return
        if run.options.dry_run:
            run.other_done(location)
            return
        record = node.record()
        number = run.files.add(folder.path, record, size=0, missing=0, ordinal=-1, is_update=False)
        whole = node.node()
        self._specials.add((number, folder.path, record, whole.link_target, whole.device))

    def _plan_file(self, folder: WalkedFolder, node: Entry, existing: os.stat_result | None) -> None:
        run = self.run
        ordinal = len(run.result.restored) - 1
        location = b"/" + join(folder.path, node.name)
        if not self._may_replace(node, existing):
            run.skip(location, node.size)
            return
        blobs = self._locate(location, node)
        if blobs is None:
            return
        file = _Existing(
            folder.path, node.record(), node.name, ordinal, existing or _NOTHING, blobs, bytearray(len(blobs))
        )
        is_there = existing is not None and stat.S_ISREG(existing.st_mode)
        # A file with more names than it had may share its content with a file outside the target: never touch it.
        if existing is None or not is_there or existing.st_nlink > max(1, node.links):
            self._plan_new(file, is_update=is_there)
            return
        trusted = run.options.overwrite is Overwrite.IF_CHANGED and existing.st_mtime_ns == node.mtime_ns
        if existing.st_size == _size(blobs) and (trusted or not blobs):
            self._plan_unchanged(file)
        elif not blobs:
            self._plan_new(file, is_update=True)
        else:
            self._compare(file)

    def _first_name(self, folder: WalkedFolder, node: Entry) -> tuple[bytes, bytes] | None:
        """Folder and name under which the same file was met before; else it is remembered as the first."""
        if node.links <= 1 or (node.type is not NodeType.FILE and node.type not in _SPECIALS):
            return None
        key = node.link_key
        first = self._first_names.get(key)
        if first is None:
            self._first_names[key] = (folder.path, node.name)
        return first

    def _plan_link(self, link: HardLink, may_replace: bool) -> None:
        location = b"/" + join(link.folder, link.name)
        self.run.expect()
        if not may_replace:
            self.run.skip(location, 0)
        elif self.run.options.dry_run:
            self.run.other_done(location)
        else:
            self.hard_links.append(link)

    def _may_replace(self, node: Entry, existing: os.stat_result | None) -> bool:
        overwrite = self.run.options.overwrite
        if existing is None or overwrite in {Overwrite.ALWAYS, Overwrite.IF_CHANGED}:
            return True
        return overwrite is Overwrite.IF_NEWER and node.mtime_ns > existing.st_mtime_ns

    def _locate(self, location: bytes, node: Entry) -> list[tuple[BlobId, BlobLocation]] | None:
        """Where the content's blobs are; None, reported, if one of them is in no index."""
        find = self.run.repository.index.find
        blobs = []
        for blob_id in node.content:
            found = find(BlobKind.DATA, blob_id)
            if found is None:
                self.run.expect(node.size)
                self.run.report(location, RepositoryError(f"blob {blob_id.hex()} is in no index: its content is lost"))
                return None
            blobs.append((blob_id, found))
        if _size(blobs) != node.size:
            name = os.fsdecode(location)
            self.run.reporter.warning(
                f"Warning: {name}: the snapshot says {node.size} bytes but its content has {_size(blobs)}"
            )
        return blobs

    # -- regular files ------------------------------------------------------------------------------------------

    def _plan_new(self, file: _Existing, *, is_update: bool) -> None:
        """All of the content is to be written."""
        run = self.run
        size = _size(file.blobs)
        run.expect(size)
        number = run.files.add(
            file.folder, file.record, size=size, missing=len(file.blobs), ordinal=file.ordinal, is_update=is_update
        )
        if run.options.dry_run:
            run.progress.bytes_done += size
            run.file_done(number)
        elif not file.blobs:
            self._empty.add((number, file.folder, file.record))
        else:
            if len(file.blobs) > 1:
                self._created.add((number, file.folder, file.name, size, False))
            self._add_needs(number, file)

    def _plan_unchanged(self, file: _Existing) -> None:
        """The content is right: only the metadata is set."""
        run = self.run
        size = _size(file.blobs)
        run.skip(b"/" + join(file.folder, file.name), size)
        if run.options.dry_run:
            return
        number = run.files.add(file.folder, file.record, size=size, missing=0, ordinal=file.ordinal, is_update=True)
        self._unchanged.add((number, file.folder, file.record, (file.status.st_dev, file.status.st_ino)))

    def _plan_update(self, file: _Existing) -> None:
        """Some of the content is right and stays."""
        run = self.run
        size = _size(file.blobs)
        kept = sum(location.data_length_bytes for i, (_, location) in enumerate(file.blobs) if file.matches[i])
        run.expect(size)
        run.progress.bytes_done += size if run.options.dry_run else kept
        number = run.files.add(
            file.folder,
            file.record,
            size=size,
            missing=file.matches.count(0),
            ordinal=file.ordinal,
            is_update=True,
        )
        if run.options.dry_run:
            run.file_done(number)
            return
        run.files.kept.add(number)
        self._created.add((number, file.folder, file.name, size, True))
        self._add_needs(number, file)

    def _add_needs(self, number: int, file: _Existing) -> None:
        offset = 0
        for i, (blob_id, location) in enumerate(file.blobs):
            if not file.matches[i]:
                self.needs.add(blob_id, location, number, offset)
            offset += location.data_length_bytes

    def _compare(self, file: _Existing) -> None:
        """Have the workers find out which blobs are in their place."""
        portions: list[tuple[int, int, list[tuple[bytes, int]]]] = []
        offset = portion_bytes = 0
        for i, (blob_id, location) in enumerate(file.blobs):
            if not portions or portion_bytes >= COMPARE_BYTES:
                portions.append((i, offset, []))
                portion_bytes = 0
            portions[-1][2].append((blob_id, location.data_length_bytes))
            offset += location.data_length_bytes
            portion_bytes += location.data_length_bytes
        file.portions_left = len(portions)
        for first, begin, blobs in portions:

            def compared(matches: bytes, first: int = first) -> None:
                file.matches[first : first + len(matches)] = matches
                file.portions_left -= 1
                if not file.portions_left:
                    self._compared(file)

            self.run.queue.submit(compared, tasks.compare_file, file.folder, file.name, begin, blobs)

    def _compared(self, file: _Existing) -> None:
        if all(file.matches) and file.status.st_size == _size(file.blobs):
            self._plan_unchanged(file)
        elif any(file.matches) and file.status.st_nlink == 1:
            self._plan_update(file)
        else:
            file.matches = bytearray(len(file.blobs))
            self._plan_new(file, is_update=True)

    # -- results ------------------------------------------------------------------------------------------------

    def _files_made(self, items: list[tuple[int, bytes, bytes]], failures: list[tasks.Failure]) -> None:
        self.run.files_failed(failures)
        for number, _, _ in items:
            if number not in self.run.files.failed:
                self.run.file_done(number)

    def _specials_made(self, items: list[tuple[int, bytes, bytes, bytes, int]], failures: list[tasks.Failure]) -> None:
        self.run.files_failed(failures)
        for number, *_ in items:
            if number not in self.run.files.failed:
                self.run.other_done(self.run.files.location(number))

    def _files_created(
        self,
        _items: list[tuple[int, bytes, bytes, int, bool]],
        made: tuple[list[tuple[int, tasks.Identity]], list[tasks.Failure]],
    ) -> None:
        identities, failures = made
        self.run.files.identities.update(identities)
        self.run.files_failed(failures)


def _size(blobs: list[tuple[BlobId, BlobLocation]]) -> int:
    return sum(location.data_length_bytes for _, location in blobs)


_NOTHING = os.stat_result((0,) * 10)
