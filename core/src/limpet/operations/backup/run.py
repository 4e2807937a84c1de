"""The backup itself: sources are walked, files read, trees built, and at the very end the snapshot saved.

The calling thread walks, compares and builds trees. Workers read small files and seal; reader threads cut large
files into chunks; what they finish comes back through one queue, so folders need no locks.
"""

from __future__ import annotations

import os
import queue
import stat as stat_modes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from limpet import filesystem
from limpet.contracts.source import Entry, Folder, Source
from limpet.errors import LimpetError, SourceError
from limpet.format.chunker import Chunker
from limpet.ids import BlobId
from limpet.operations.backup.compare import Comparer, Fields
from limpet.operations.backup.folders import FolderFinisher, FolderInWork, Unchanged
from limpet.operations.backup.large_files import WINDOW_SIZE, LargeFile, LargeFileReader
from limpet.operations.backup.options import BackupOptions, BackupResult, Counts
from limpet.operations.backup.reading import SMALL_FILE, FileGroup, FileOutcome, read_files
from limpet.operations.backup.record import save_snapshot
from limpet.operations.backup.spine import Spine, SpineFolder
from limpet.progress import ItemEvent, Progress, Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver

MIB = 1024 * 1024
BATCH_FILES = 256
BATCH_BYTES = 4 * MIB
BATCHES_PER_WORKER = 4
"""How many batches may wait or run for each worker: enough that none ever idles."""


def backup(
    repository: Repository, sources: Sequence[Source], options: BackupOptions, reporter: Reporter | None = None
) -> BackupResult:
    """Save what the sources deliver as one snapshot.

    The caller holds a lock and closes the sources. SourceError if a source cannot be trusted or nothing was there to
    be saved; files that cannot be read are reported, counted in `errors`, and left out.
    """
    reporter = reporter or SilentReporter()
    repository.load_index(reporter)
    started_ns = time.time_ns()
    saver = BlobSaver(
        repository, window_count=2 * options.read_concurrency + 2, window_size_bytes=WINDOW_SIZE
    )  # forks: before any thread
    run = _Run(repository, sources, options, reporter, saver)
    try:
        tree = run.walk()
        saver.flush()
        for source in sources:
            source.finish()
        result = BackupResult(
            None, tree, run.counts, saver.counts, run.errors, started_ns, time.time_ns(), run.paths
        )
        result = save_snapshot(repository, options, result)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            repository.interrupt()  # packs that a storage does not take now must not hold the user for minutes
        saver.abandon()
        raise
    finally:
        reporter.end()
    saver.close()
    return result


@dataclass(slots=True)
class _Batch:
    """Small files for one task: folder by folder, with the slots that wait for them."""

    groups: list[FileGroup] = field(default_factory=list)
    slots: list[tuple[FolderInWork, list[tuple[int, Entry, Fields | None]]]] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0


class _Run:
    """The state of one backup."""

    def __init__(
        self,
        repository: Repository,
        sources: Sequence[Source],
        options: BackupOptions,
        reporter: Reporter,
        saver: BlobSaver,
    ) -> None:
        self.counts = Counts()
        self.progress = Progress("backup")
        self.paths: list[str] = []
        self._sources = sources
        self._options = options
        self._reporter = reporter
        self._saver = saver
        self._comparer = Comparer(
            repository,
            ignore_inode=options.ignore_inode,
            ignore_ctime=options.ignore_ctime,
            with_atime=options.with_atime,
        )
        self._finisher = FolderFinisher(
            self._comparer, saver.save_tree, self._folder_finished, with_atime=options.with_atime
        )
        self._events: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()
        self._batches = 0
        self._batch = _Batch()
        self._expected: dict[bytes, FolderInWork] = {}
        self._root_tree: BlobId | None = None
        self._large = LargeFileReader(
            saver,
            Chunker(repository.config.chunker_polynomial),
            options.read_concurrency,
            finished=lambda file: self._events.put((self._large_finished, (file,))),
            failed=self._fail_later,
            advanced=self._advance,
        )
        self._large_slots: dict[int, tuple[FolderInWork, int, Entry, Fields | None]] = {}

    @property
    def errors(self) -> int:
        """How many things could not be saved: told by us, or by the sources themselves."""
        return self.progress.errors + sum(source.error_count for source in self._sources)

    # -- walking ------------------------------------------------------------------------------------------------

    def walk(self) -> BlobId:
        """The id of the root tree, with everything handed to the storage."""
        spine = Spine(self._options.time_ns)
        targets = [(source, target) for source in self._sources for target in source.targets()]
        for source, target in targets:
            spine.add(source, target)
        for source in self._sources:
            self.paths.extend(source.snapshot_paths)
        if not targets:
            raise SourceError("unable to save snapshot: snapshot is empty")
        self._reporter.begin(self.progress)
        self._start_scan()
        parent = self._options.parent
        self._enter_spine(spine.root, None, 0, None if parent is None else parent.snapshot.tree, None)
        self._submit_batch()
        while self._root_tree is None:
            self._handle(*self._events.get())
        self._large.close()
        self._saver.check()
        return self._root_tree

    def _enter_spine(
        self,
        spine: SpineFolder,
        parent: FolderInWork | None,
        slot: int,
        old_tree: BlobId | None,
        old_fields: Fields | None,
    ) -> None:
        """Save a folder above the targets, and what the targets hold."""
        if spine.target is not None:
            self._enter_target(spine, parent, slot, old_tree, old_fields)
            return
        folder = FolderInWork(
            spine.path, spine.name, spine.status, parent, slot, old_fields=old_fields, old_tree=old_tree
        )
        if spine.real_path is not None:
            folder.xattrs = _xattrs_of(spine.real_path)
        old = self._open_folder(folder, len(spine.children))
        for index, child in enumerate(sorted(spine.children.values(), key=lambda child: child.name)):
            fields = old.get(child.name)
            self._enter_spine(child, folder, index, _subtree(fields), fields)
        self._finisher.release(folder)

    def _enter_target(
        self,
        spine: SpineFolder,
        parent: FolderInWork | None,
        slot: int,
        old_tree: BlobId | None,
        old_fields: Fields | None,
    ) -> None:
        assert spine.target is not None
        assert spine.source is not None
        target, entry = spine.target, spine.target.entry
        if not stat_modes.S_ISDIR(entry.stat.st_mode):
            assert parent is not None  # a file has a folder above it, if only a made-up one
            self._entry(parent, slot, entry, target.open_path, old_fields)
            return
        folder = FolderInWork(
            spine.path, spine.name, entry.stat, parent, slot, old_fields=old_fields, old_tree=old_tree
        )
        if not entry.made:
            folder.xattrs = _xattrs_of(_real_path(target.open_path, entry))
        self._expected[spine.path] = folder
        for found in spine.source.folders(target):
            self._folder(found)
            while self._batches > BATCHES_PER_WORKER * self._saver.worker_count or not self._events.empty():
                self._handle(*self._events.get())
        self._drop_unread()

    def _drop_unread(self) -> None:
        """Leave out folders that the source has announced and then could not read; it has reported them."""
        for folder in self._expected.values():
            if folder.parent is None:
                raise SourceError("unable to save snapshot: the folder to save cannot be read")
            self._finisher.release(folder.parent)
        self._expected.clear()

    def _folder(self, found: Folder) -> None:
        """Take in one folder: its entries are compared, and read where they have changed."""
        folder = self._expected.pop(found.path)
        old = self._open_folder(folder, len(found.entries))
        for slot, entry in enumerate(found.entries):
            mode = entry.stat.st_mode
            fields = old.get(entry.name)
            if stat_modes.S_ISDIR(mode):
                self._expect(folder, slot, entry, found.open_path, fields)
            else:
                self._entry(folder, slot, entry, found.open_path, fields)
        self._finisher.release(folder)

    def _open_folder(self, folder: FolderInWork, entries: int) -> dict[bytes, Fields]:
        """Make the folder's slots, and return what the parent snapshot knows of it."""
        folder.slots = [None] * entries
        folder.pending = entries + 1
        old, error = self._comparer.folder(folder.old_tree)
        if error is not None:
            self._reporter.warning(f"{os.fsdecode(folder.path)}: cannot read the parent snapshot's folder: {error}")
        folder.old_count = -1 if error is not None or folder.old_tree is None else len(old)
        return old

    def _expect(
        self, folder: FolderInWork, slot: int, entry: Entry, open_path: bytes | None, fields: Fields | None
    ) -> None:
        """A folder that the source will yield in its turn."""
        path = _join(folder.path, entry.name)
        child = FolderInWork(path, entry.name, entry.stat, folder, slot, old_fields=fields, old_tree=_subtree(fields))
        if not entry.made:
            child.xattrs = _xattrs_of(_real_path(open_path, entry))
        self._expected[path] = child

    # -- entries that are no folders ----------------------------------------------------------------------------

    def _entry(
        self, folder: FolderInWork, slot: int, entry: Entry, open_path: bytes | None, fields: Fields | None
    ) -> None:
        status = entry.stat
        if not stat_modes.S_ISREG(status.st_mode):
            self._special(folder, slot, entry, open_path)
        elif entry.stream is not None or open_path is None:
            self._read_large(folder, slot, entry, None, fields)
        elif fields is not None and (content := self._comparer.content(status, fields)) is not None:
            self._unchanged(folder, slot, entry, open_path, fields, content)
        elif status.st_size <= SMALL_FILE:
            self._read_small(folder, slot, entry, open_path, fields)
        else:
            self._read_large(folder, slot, entry, open_path, fields)

    def _special(self, folder: FolderInWork, slot: int, entry: Entry, open_path: bytes | None) -> None:
        """A symlink, device, fifo or socket."""
        try:
            link_target = entry.link_target
            xattrs: Sequence[tuple[bytes, bytes]] = ()
            if not entry.made and open_path is not None:
                if stat_modes.S_ISLNK(entry.stat.st_mode):
                    link_target = filesystem.read_link(open_path, entry.name)
                xattrs = filesystem.read_xattrs_below(open_path, entry.name)
        except OSError as error:
            self._lost(folder, slot, entry, error)
            return
        node = self._finisher.node(entry.name, entry.stat, xattrs=xattrs, link_target=link_target)
        self._finisher.settle(folder, slot, node)

    def _unchanged(
        self,
        folder: FolderInWork,
        slot: int,
        entry: Entry,
        open_path: bytes,
        fields: Fields,
        content: Sequence[BlobId],
    ) -> None:
        """The content is the parent's; the metadata may have changed (restic issue 2249)."""
        status = entry.stat
        if self._comparer.same_metadata(status, fields):
            self._finisher.settle(folder, slot, Unchanged(entry.name, status, fields, content))
        else:
            try:
                xattrs = filesystem.read_xattrs_below(open_path, entry.name)
            except OSError as error:
                self._lost(folder, slot, entry, error)
                return
            node = self._finisher.node(entry.name, status, xattrs=xattrs, size=status.st_size, content=content)
            self._finisher.settle(folder, slot, node)
        self.counts.files_unmodified += 1
        self._file_done(folder, entry, "unchanged", status.st_size, 0, 0)
        self.progress.bytes_done += status.st_size

    def _read_small(
        self, folder: FolderInWork, slot: int, entry: Entry, open_path: bytes, fields: Fields | None
    ) -> None:
        batch = self._batch
        if not batch.slots or batch.slots[-1][0] is not folder or batch.groups[-1][0] != open_path:
            batch.groups.append((open_path, []))
            batch.slots.append((folder, []))
        batch.groups[-1][1].append(entry.name)
        batch.slots[-1][1].append((slot, entry, fields))
        batch.files += 1
        batch.size_bytes += entry.stat.st_size
        if batch.files >= BATCH_FILES or batch.size_bytes >= BATCH_BYTES:
            self._submit_batch()

    def _submit_batch(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not batch.files:
            return
        self._batches += 1

        def done(outcomes: list[list[FileOutcome]] | None, error: BaseException | None) -> None:
            self._events.put((self._batch_finished, (batch, outcomes, error)))

        self._saver.submit(read_files, done, batch.groups, self._options.with_atime)

    def _batch_finished(
        self, batch: _Batch, outcomes: list[list[FileOutcome]] | None, error: BaseException | None
    ) -> None:
        self._batches -= 1
        if outcomes is None:
            assert error is not None
            raise error
        for (open_path, _), (folder, waiting), done in zip(batch.groups, batch.slots, outcomes, strict=True):
            for (slot, entry, fields), outcome in zip(waiting, done, strict=False):
                self._small_finished(folder, slot, entry, open_path, fields, outcome)
            for slot, entry, fields in waiting[len(done) :]:
                self._read_small(folder, slot, entry, open_path, fields)
        if not self._batches:
            self._submit_batch()  # nothing else may come that would fill it

    def _small_finished(
        self,
        folder: FolderInWork,
        slot: int,
        entry: Entry,
        open_path: bytes,
        fields: Fields | None,
        outcome: FileOutcome,
    ) -> None:
        node, size, added, stored, error = outcome
        if error is not None:
            self._lost(folder, slot, entry, error)
        elif node is None:
            self._read_large(folder, slot, entry, open_path, fields)
        else:
            self._finisher.settle(folder, slot, node)
            self.progress.bytes_done += size
            self._file_read(folder, entry, fields, size, added, stored)

    def _read_large(
        self, folder: FolderInWork, slot: int, entry: Entry, open_path: bytes | None, fields: Fields | None
    ) -> None:
        path = _join(folder.path, entry.name)
        file = LargeFile(path, entry.name, entry.stat, open_path, entry.stream)
        self._large_slots[id(file)] = (folder, slot, entry, fields)
        self.progress.current[os.fsdecode(path)] = None
        while not self._large.offer(file):
            self._handle(*self._events.get())

    def _large_finished(self, file: LargeFile) -> None:
        folder, slot, entry, fields = self._large_slots.pop(id(file))
        self.progress.current.pop(os.fsdecode(file.path), None)
        if file.error is not None:
            self._lost(folder, slot, entry, file.error)
            return
        node = self._finisher.node(file.name, file.status, xattrs=file.xattrs, size=file.size, content=file.chunks)
        self._finisher.settle(folder, slot, node)
        self._file_read(folder, entry, fields, file.size, file.added, file.stored)

    # -- what has been done -------------------------------------------------------------------------------------

    def _file_read(
        self, folder: FolderInWork, entry: Entry, fields: Fields | None, size: int, added: int, stored: int
    ) -> None:
        if fields is None or fields.get("type") != "file":
            self.counts.files_new += 1
            action = "new"
        else:
            self.counts.files_changed += 1
            action = "modified"
        self._file_done(folder, entry, action, size, added, stored)

    def _file_done(self, folder: FolderInWork, entry: Entry, action: str, size: int, added: int, stored: int) -> None:
        self.counts.files_processed += 1
        self.counts.bytes_processed += size
        self.progress.files_done += 1
        if self._reporter.wants_items:
            path = os.fsdecode(_join(folder.path, entry.name))
            self._reporter.item(
                ItemEvent(action, path, size_bytes=size, data_size_bytes=added, data_stored_bytes=stored)
            )

    def _folder_finished(self, folder: FolderInWork, tree_id: BlobId) -> None:
        if folder.parent is None:
            self._root_tree = tree_id
            return
        if folder.old_tree is None:
            self.counts.dirs_new += 1
            action = "new"
        elif folder.old_tree == tree_id:
            self.counts.dirs_unmodified += 1
            action = "unchanged"
        else:
            self.counts.dirs_changed += 1
            action = "modified"
        if self._reporter.wants_items:
            self._reporter.item(ItemEvent(action, os.fsdecode(folder.path), is_folder=True))

    def _lost(self, folder: FolderInWork, slot: int, entry: Entry, error: Exception) -> None:
        """An entry that cannot be saved: told, counted and left out."""
        path = os.fsdecode(_join(folder.path, entry.name))
        reason = getattr(error, "strerror", None) or str(error)
        self._reporter.error(SourceError(f"{path}: {reason}"), during="archival", item=path)
        self.progress.errors += 1
        self._finisher.settle(folder, slot, None)

    def _advance(self, size_bytes: int) -> None:
        self.progress.bytes_done += size_bytes

    # -- what other threads send --------------------------------------------------------------------------------

    def _handle(self, handler: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        handler(*arguments)
        self._saver.check()

    def _fail_later(self, error: BaseException) -> None:
        """Let the walking thread raise the error."""
        self._events.put((_raise, (error,)))

    def _start_scan(self) -> None:
        if not self._options.scan or not self._reporter.wants_totals:
            return
        threading.Thread(target=self._scan, name="limpet-scan", daemon=True).start()

    def _scan(self) -> None:
        files = size = 0
        try:
            for source in self._sources:
                found = source.scan()
                files, size = files + found[0], size + found[1]
        except (OSError, LimpetError) as error:
            self._reporter.error(error, during="scan", item="")
            return
        self.progress.files_total, self.progress.bytes_total = files, size


def _raise(error: BaseException) -> None:
    raise error


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + name if folder.endswith(b"/") else folder + b"/" + name


def _real_path(open_path: bytes | None, entry: Entry) -> bytes:
    return entry.subfolder_path or _join(open_path or b"", entry.name)


def _xattrs_of(path: bytes) -> Callable[[], Sequence[tuple[bytes, bytes]]]:
    def read() -> Sequence[tuple[bytes, bytes]]:
        folder, _, name = path.rpartition(b"/")
        try:
            return filesystem.read_xattrs_below(folder or b"/", name) if name else filesystem.read_xattrs(path)
        except OSError:
            return ()  # it was there when its entries were read

    return read


def _subtree(fields: Fields | None) -> BlobId | None:
    try:
        return BlobId(bytes.fromhex(fields["subtree"])) if fields is not None and "subtree" in fields else None
    except (TypeError, ValueError):
        return None
