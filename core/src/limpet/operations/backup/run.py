"""The backup itself: sources are walked, files read, trees built, and at the very end the snapshot saved.

The calling thread walks, compares and builds trees. Workers read small files and seal; reader threads cut large
files into chunks; what they finish comes back through one queue, so folders need no locks.
"""

from __future__ import annotations

import os
import stat as stat_modes
import threading
import time
from collections.abc import Sequence

from limpet.contracts.source import Entry, Folder, ParentInfo, Source
from limpet.errors import IntegrityError, LimpetError, SourceError
from limpet.format.chunker import Chunker
from limpet.ids import BlobId
from limpet.operations.backup.compare import Comparer, Fields
from limpet.operations.backup.entries import EntryInWork, EntrySaver
from limpet.operations.backup.events import Events
from limpet.operations.backup.folders import FolderFinisher, FolderInWork, join
from limpet.operations.backup.large_files import WINDOW_SIZE
from limpet.operations.backup.options import BackupOptions, BackupResult
from limpet.operations.backup.record import save_snapshot
from limpet.operations.backup.spine import Spine, SpineFolder
from limpet.operations.backup.targets import Targets
from limpet.progress import ItemEvent, Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.repository.snapshots import StoredSnapshot

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
    started_ns = options.started_ns or time.time_ns()
    # Forks: before there is any thread.
    saver = BlobSaver(repository, window_count=2 * options.read_concurrency + 1, window_size_bytes=WINDOW_SIZE)
    repository.trees.open_ahead = saver.open_trees
    try:
        walk = _Walk(repository, sources, options, reporter, saver)
        tree = walk.run()
        saver.flush()
        paths = [path for source in sources for path in source.snapshot_paths]
        result = BackupResult(
            None, tree, walk.entries.counts, saver.counts, walk.errors, started_ns, time.time_ns(), paths
        )
        result = save_snapshot(repository, options, result)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            repository.interrupt()  # packs that a storage does not take now must not hold the user for minutes
        saver.abandon()
        raise
    finally:
        repository.trees.open_ahead = None
        reporter.end()
    saver.close()
    if result.snapshot is not None and not options.dry_run:
        _tell_saved(sources, result.snapshot, reporter)
    return result


def _tell_saved(sources: Sequence[Source], snapshot: StoredSnapshot, reporter: Reporter) -> None:
    for source in sources:
        try:
            source.saved(snapshot.id.hex())
        except SourceError as error:  # The snapshot is good, whatever the source cannot remember of it.
            reporter.warning(str(error))


class _Walk:
    """The walk through all sources, in the thread that builds the trees."""

    def __init__(
        self,
        repository: Repository,
        sources: Sequence[Source],
        options: BackupOptions,
        reporter: Reporter,
        saver: BlobSaver,
    ) -> None:
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
        self._tree_bytes = saver.tree_bytes
        self._events = Events()
        self.entries = EntrySaver(
            saver,
            chunker=Chunker(repository.config.chunker_polynomial),
            comparer=self._comparer,
            finisher=self._finisher,
            events=self._events,
            options=options,
            reporter=reporter,
            sources=sources,
            source_failed=self._source_failed,
        )
        self._targets = Targets(sources, self.entries.failed, allow_partial=options.allow_partial)
        self._expected: dict[bytes, FolderInWork] = {}
        self._above_targets: list[FolderInWork] = []
        """Folders above the targets, each before those inside it."""
        self._root_tree: BlobId | None = None

    @property
    def errors(self) -> int:
        """How many things could not be saved: told by us, or by the sources themselves."""
        return self.entries.progress.errors + sum(source.error_count for source in self._sources)

    def run(self) -> BlobId:
        """The id of the root tree, with everything handed to the storage."""
        spine = Spine(self._options.time_ns)
        parent = self._options.parent
        for source, target in self._targets.ask(
            None if parent is None else ParentInfo(parent.id.hex(), parent.time_ns)
        ):
            spine.add(source, target)
        self._reporter.begin(self.entries.progress)
        if self._options.scan and self._reporter.wants_totals:
            threading.Thread(target=self._scan, name="limpet-scan", daemon=True).start()
        self._enter(spine.root, None, 0, None if parent is None else parent.snapshot.tree, None)
        self.entries.submit_batch()
        while self._finisher.targets_in_work or (self._root_tree is None and not self._above_targets):
            self._handle_one()
        self.entries.close()
        self._targets.finish()
        root_tree = self._finish_above_targets()
        self._saver.check()
        return root_tree

    # -- folders ------------------------------------------------------------------------------------------------

    def _enter(
        self,
        spine: SpineFolder,
        parent: FolderInWork | None,
        slot: int,
        old_tree: BlobId | None,
        old: Fields | None,
    ) -> None:
        """Save a folder above the targets and what the targets hold, or a target itself."""
        entry = None if spine.target is None else spine.target.entry
        if entry is not None and not stat_modes.S_ISDIR(entry.stat.st_mode):
            assert spine.target is not None
            assert parent is not None  # a file has a folder above it, if only a made-up one
            self._place(spine, parent, slot)
            self.entries.save(EntryInWork(parent, slot, entry, spine.target.open_path, old))
            return
        folder = FolderInWork(spine.path, spine.name, spine.status, parent, slot, old_fields=old, old_tree=old_tree)
        folder.real_path = spine.real_path
        if entry is None:
            self._enter_children(spine, folder)
            return
        self._place(spine, parent, slot)
        self._walk_target(spine, folder)

    def _enter_children(self, spine: SpineFolder, folder: FolderInWork) -> None:
        self._above_targets.append(folder)
        folder.is_above_targets = True
        old = self._open(folder, len(spine.children))
        for index, child in enumerate(sorted(spine.children.values(), key=lambda child: child.name)):
            fields = old.get(child.name)
            self._enter(child, folder, index, _subtree(fields), fields)

    def _place(self, spine: SpineFolder, folder: FolderInWork | None, slot: int) -> None:
        assert spine.source is not None
        assert spine.target is not None
        self._targets.place(spine.source, spine.target, folder, slot)
        self._finisher.targets_in_work += folder is not None

    def _finish_above_targets(self) -> BlobId:
        """Make trees of the folders above the targets, now that every source has kept its promise or lost it."""
        for folder in self._above_targets:
            folder.is_above_targets = False
        for folder in reversed(self._above_targets):
            if folder.parent is not None and self._options.allow_partial and not any(folder.slots):
                self._finisher.settle(folder.parent, folder.slot, None)  # led only to what is lost
            else:
                self._finisher.release(folder)
        assert self._root_tree is not None
        return self._root_tree

    def _walk_target(self, spine: SpineFolder, folder: FolderInWork) -> None:
        assert spine.target is not None
        assert spine.source is not None
        self._expected[spine.path] = folder
        limit = BATCHES_PER_WORKER * self._saver.worker_count
        try:
            for found in spine.source.folders(spine.target):
                self._take(found)
                while self.entries.batches_in_work > limit or self._events.waiting:
                    self._handle_one()
        except SourceError as error:
            self._targets.lose(error, spine.path)
        self._drop_unread()

    def _take(self, found: Folder) -> None:
        """Take in one folder: its entries are compared, and read where they have changed."""
        folder = self._expected.pop(found.path, None)
        if folder is None:
            raise SourceError(f"a source yields a folder that it has not announced: {os.fsdecode(found.path)}")
        old = self._open(folder, len(found.entries))
        for slot, entry, fields in self.entries.take_over_unchanged(folder, found, old):
            if stat_modes.S_ISDIR(entry.stat.st_mode):
                self._expect(folder, slot, entry, found.open_path, fields)
            else:
                self.entries.save(EntryInWork(folder, slot, entry, found.open_path, fields))
        self._finisher.release(folder)

    def _open(self, folder: FolderInWork, entries: int) -> dict[bytes, Fields]:
        """Make the folder's slots, and return what the parent snapshot knows of it."""
        folder.slots = [None] * entries
        folder.pending = entries + 1
        old, error = self._comparer.folder(folder.old_tree)
        if error is not None:
            path = os.fsdecode(folder.path)
            self.entries.failed(IntegrityError(f"{path}: the parent snapshot's folder cannot be read: {error}"), path)
        folder.old_count = -1 if error is not None or folder.old_tree is None else len(old)
        return old

    def _expect(
        self, folder: FolderInWork, slot: int, entry: Entry, open_path: bytes | None, old: Fields | None
    ) -> None:
        """A folder that the source will yield in its turn."""
        path = join(folder.path, entry.name)
        child = FolderInWork(path, entry.name, entry.stat, folder, slot, old_fields=old, old_tree=_subtree(old))
        child.real_path = entry.real_path(open_path)
        self._expected[path] = child

    def _drop_unread(self) -> None:
        """Leave out folders that the source has announced and then could not read; it has reported them."""
        for folder in self._expected.values():
            if folder.parent is None:
                raise SourceError("unable to save snapshot: the folder to save cannot be read")
            self._finisher.release(folder.parent)
        self._expected.clear()

    def _folder_finished(self, folder: FolderInWork, tree_id: BlobId, is_unchanged: bool) -> None:
        before, self._tree_bytes = self._tree_bytes, self._saver.tree_bytes
        if folder.parent is None:
            self._root_tree = tree_id
            return
        counts = self.entries.counts
        if folder.old_fields is None:
            counts.dirs_new += 1
            action = "new"
        elif is_unchanged:
            counts.dirs_unmodified += 1
            action = "unchanged"
        else:
            counts.dirs_changed += 1
            action = "modified"
        if self._reporter.wants_items:
            event = ItemEvent(
                action,
                os.fsdecode(folder.path) + "/",
                is_folder=True,
                duration_s=0.0 if is_unchanged else time.monotonic() - folder.started_s,
                metadata_size_bytes=self._tree_bytes[0] - before[0],
                metadata_stored_bytes=self._tree_bytes[1] - before[1],
            )
            self._reporter.item(event)

    def _source_failed(self, error: SourceError, path: bytes) -> None:
        self._targets.lose(error, path)

    # -- beside the walk ----------------------------------------------------------------------------------------

    def _handle_one(self) -> None:
        self._events.handle_one()
        self._saver.check()

    def _scan(self) -> None:
        files = size = 0
        started_s = time.monotonic()
        try:
            for source in self._sources:
                found = source.scan()
                files, size = files + found[0], size + found[1]
        except (OSError, LimpetError) as error:
            self._reporter.error(error, during="scan", item="")
            return
        self.entries.progress.files_total, self.entries.progress.bytes_total = files, size
        duration_s = time.monotonic() - started_s
        self._reporter.item(
            ItemEvent("scan_finished", "", duration_s=duration_s, data_size_bytes=size, total_files=files)
        )


def _subtree(fields: Fields | None) -> BlobId | None:
    try:
        return BlobId(bytes.fromhex(fields["subtree"])) if fields is not None and "subtree" in fields else None
    except (TypeError, ValueError):
        return None
