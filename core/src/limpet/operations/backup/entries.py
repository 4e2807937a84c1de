"""Entries that are no folders: compared with the parent, and read where they have changed.

Small files go to the workers in batches, large ones to the reader threads; what comes back settles their slots.
"""

from __future__ import annotations

import os
import stat as stat_modes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from limpet import filesystem
from limpet.contracts.source import Entry, Folder, Source
from limpet.errors import LimpetError, RepositoryError, SourceError
from limpet.format.chunker import Chunker
from limpet.ids import BlobId
from limpet.operations.backup.compare import Comparer, Fields, Unchanged
from limpet.operations.backup.events import Events
from limpet.operations.backup.folders import FolderFinisher, FolderInWork, Slot, join
from limpet.operations.backup.large_files import LargeFile, LargeFileReader
from limpet.operations.backup.options import BackupOptions, Counts
from limpet.operations.backup.reading import SMALL_FILE, FileGroup, FileOutcome, read_files
from limpet.progress import ItemEvent, Progress, Reporter
from limpet.repository.saver import BlobSaver

MIB = 1024 * 1024
BATCH_FILES = 256
BATCH_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class EntryInWork:
    """An entry and where its node belongs. `old` is its node in the parent, if it was there."""

    folder: FolderInWork
    slot: int
    entry: Entry
    open_path: bytes | None
    """Real path of its folder; None where it is not in the file system."""
    old: Fields | None

    @property
    def path(self) -> bytes:
        """Its path in the snapshot."""
        return join(self.folder.path, self.entry.name)


@dataclass(slots=True)
class _Batch:
    """Small files for one task: the groups that the worker reads, and the entries in the same order."""

    groups: list[FileGroup] = field(default_factory=list)
    entries: list[list[EntryInWork]] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    started_s: float = field(default_factory=time.monotonic)

    def add(self, item: EntryInWork, open_path: bytes) -> None:
        if not self.entries or self.entries[-1][0].folder is not item.folder:
            self.groups.append((open_path, []))
            self.entries.append([])
        self.groups[-1][1].append(item.entry.name)
        self.entries[-1].append(item)
        self.files += 1
        self.size_bytes += item.entry.stat.st_size

    @property
    def is_full(self) -> bool:
        return self.files >= BATCH_FILES or self.size_bytes >= BATCH_BYTES


class EntrySaver:
    """Saves entries; used by the walking thread alone."""

    def __init__(
        self,
        saver: BlobSaver,
        *,
        chunker: Chunker,
        comparer: Comparer,
        finisher: FolderFinisher,
        events: Events,
        options: BackupOptions,
        reporter: Reporter,
        sources: Sequence[Source],
        source_failed: Callable[[SourceError, bytes], None],
    ) -> None:
        """`source_failed` is told of content that a source gives up, by its path; it raises if that is the end."""
        self.counts = Counts()
        self.progress = Progress("backup")
        self.batches_in_work = 0
        self._saver = saver
        self._comparer = comparer
        self._finisher = finisher
        self._events = events
        self._with_atime = options.with_atime
        self._reporter = reporter
        self._batch = _Batch()
        self._sources = sources
        self._devices = {frozen: device for source in sources for frozen, device in source.devices.items()}
        self._source_failed = source_failed
        self._large: dict[int, EntryInWork] = {}
        self._reader = LargeFileReader(
            saver,
            chunker,
            options.read_concurrency,
            devices=self._devices,
            finished=lambda file: events.put(self._large_finished, file),
            failed=events.fail,
            advanced=self._advance,
        )

    def take_over_unchanged(
        self, folder: FolderInWork, found: Folder, old: dict[bytes, Fields]
    ) -> list[tuple[int, Entry, Fields | None]]:
        """Settle the slots of files whose nodes are the parent's; slot, entry and old node of all others.

        The hot path of a backup in which little has changed: no call a file that can be made once a folder.
        """
        if found.open_path is None or self._reporter.wants_items:
            return [(slot, entry, old.get(entry.name)) for slot, entry in enumerate(found.entries)]
        files, size_bytes, others = self._comparer.take_over(found.entries, old, folder.slots)
        self.counts.files_unmodified += files
        self.counts.files_processed += files
        self.counts.bytes_processed += size_bytes
        self.progress.files_done += files
        self.progress.bytes_done += size_bytes
        folder.pending -= files
        return others

    def save(self, item: EntryInWork) -> None:
        """See to it that the entry's slot is settled, now or later."""
        status = item.entry.stat
        if not stat_modes.S_ISREG(status.st_mode):
            self._save_special(item)
        elif item.entry.stream is not None or item.open_path is None:
            self._read_large(item)
        elif (
            item.old is not None
            and self._comparer.is_unchanged(status, item.old)
            and (content := self._known_content(item, item.old)) is not None
        ):
            self._take_over(item, item.open_path, item.old, content)
        else:
            self._read(item, item.open_path)

    def submit_batch(self) -> None:
        """Send the files collected so far to the workers."""
        batch, self._batch = self._batch, _Batch()
        if not batch.files:
            return
        self.batches_in_work += 1

        def done(outcomes: list[list[FileOutcome]] | None, error: BaseException | None) -> None:
            self._events.put(self._batch_finished, batch, outcomes, error)

        self._saver.submit(read_files, done, batch.groups, self._with_atime, self._devices)

    def failed(self, error: LimpetError, path: str) -> None:
        """Something is not as it should be: told and counted; the backup goes on."""
        self._reporter.error(error, during="archival", item=path)
        self.progress.errors += 1

    def close(self) -> None:
        """End the reader threads when all is read."""
        self._reader.close()

    # -- by kind ------------------------------------------------------------------------------------------------

    def _save_special(self, item: EntryInWork) -> None:
        """A symlink, device, fifo or socket."""
        entry, link_target = item.entry, item.entry.link_target
        xattrs: Sequence[tuple[bytes, bytes]] = ()
        try:
            if not entry.made and item.open_path is not None:
                if stat_modes.S_ISLNK(entry.stat.st_mode):
                    link_target = filesystem.read_link(item.open_path, entry.name)
                xattrs = filesystem.read_xattrs_below(item.open_path, entry.name)
        except OSError as error:
            self._lost(item, error)
            return
        node = self._finisher.node(entry.name, entry.stat, xattrs=xattrs, link_target=link_target)
        self._finisher.settle(item.folder, item.slot, node)

    def _known_content(self, item: EntryInWork, old: Fields) -> list[BlobId] | None:
        """The chunks of an unchanged file; None, told, where some are lost and it has to be read again."""
        content = self._comparer.content(old)
        if content is None:
            path = self._shown_path(item)
            error = f"parts of {path} not found in the repository index; storing the file again"
            self.failed(RepositoryError(error), path)
        return content

    def _take_over(self, item: EntryInWork, open_path: bytes, old: Fields, content: Sequence[BlobId]) -> None:
        """The content is the parent's; the metadata may have changed (restic issue 2249)."""
        name, status = item.entry.name, item.entry.stat
        node: Slot
        if self._comparer.same_metadata(status, old):
            node = Unchanged(name, status, old, content)
        else:
            try:
                xattrs = filesystem.read_xattrs_below(open_path, name)
            except OSError as error:
                self._lost(item, error)
                return
            node = self._finisher.node(name, status, xattrs=xattrs, size=status.st_size, content=content)
        self.counts.files_unmodified += 1
        self.progress.bytes_done += status.st_size
        self._count(item, "unchanged", status.st_size)
        self._finisher.settle(item.folder, item.slot, node)

    def _read(self, item: EntryInWork, open_path: bytes) -> None:
        if item.entry.stat.st_size > SMALL_FILE:
            self._read_large(item)
            return
        self._batch.add(item, open_path)
        if self._batch.is_full:
            self.submit_batch()

    def _batch_finished(
        self, batch: _Batch, outcomes: list[list[FileOutcome]] | None, error: BaseException | None
    ) -> None:
        self.batches_in_work -= 1
        if outcomes is None:
            assert error is not None
            raise error
        for (open_path, _), items, done in zip(batch.groups, batch.entries, outcomes, strict=True):
            for item, outcome in zip(items, done, strict=False):
                self._small_finished(item, outcome, batch.started_s)
            for item in items[len(done) :]:  # the pack had no room for them
                self._read(item, open_path)
        if not self.batches_in_work:
            self.submit_batch()  # nothing else may come that would fill it

    def _small_finished(self, item: EntryInWork, outcome: FileOutcome, started_s: float) -> None:
        node, size, added, stored, error = outcome
        if error is not None:
            self._lost(item, error)
        elif node is None:
            self._read_large(item)
        else:
            self.progress.bytes_done += size
            self._count_read(item, size, added, stored, started_s)
            self._finisher.settle(item.folder, item.slot, node)

    def _read_large(self, item: EntryInWork) -> None:
        entry = item.entry
        open_path = None if entry.stream is not None else item.open_path
        file = LargeFile(item.path, entry.name, entry.stat, open_path, entry.stream)
        if entry.stream is not None and entry.extents is not None:
            file.extents = entry.extents
            if item.old is not None:  # the extents themselves are looked at when the stream is open
                file.known = self._comparer.chunks(item.old)
        self._large[id(file)] = item
        self.progress.current[os.fsdecode(file.path)] = None
        while not self._reader.offer(file):
            self._events.handle_one()

    def _large_finished(self, file: LargeFile) -> None:
        item = self._large.pop(id(file))
        self.progress.current.pop(os.fsdecode(file.path), None)
        if isinstance(file.error, SourceError):
            self._source_failed(file.error, item.path)
            self._finisher.settle(item.folder, item.slot, None)
            return
        if file.error is not None:
            self._lost(item, file.error)
            return
        node = self._finisher.node(file.name, file.status, xattrs=file.xattrs, size=file.size, content=file.chunks)
        self._count_read(item, file.size, file.added, file.stored, file.started_s)
        self._finisher.settle(item.folder, item.slot, node)

    # -- what has been done -------------------------------------------------------------------------------------

    def _count_read(self, item: EntryInWork, size: int, added: int, stored: int, started_s: float) -> None:
        if item.old is None:
            self.counts.files_new += 1
            action = "new"
        else:
            self.counts.files_changed += 1
            action = "modified"
        duration_s = time.monotonic() - started_s
        self._count(item, action, size, added=added, stored=stored, duration_s=duration_s)

    def _count(
        self, item: EntryInWork, action: str, size: int, *, added: int = 0, stored: int = 0, duration_s: float = 0.0
    ) -> None:
        self.counts.files_processed += 1
        self.counts.bytes_processed += size
        self.progress.files_done += 1
        if self._reporter.wants_items:
            event = ItemEvent(
                action,
                os.fsdecode(item.path),
                size_bytes=size,
                duration_s=duration_s,
                data_size_bytes=added,
                data_stored_bytes=stored,
            )
            self._reporter.item(event)

    def _lost(self, item: EntryInWork, error: Exception) -> None:
        """An entry that cannot be saved: told, counted and left out."""
        reason = getattr(error, "strerror", None) or str(error)
        path = self._shown_path(item)
        self.failed(SourceError(f"{path}: {reason}"), path)
        self._finisher.settle(item.folder, item.slot, None)

    def _shown_path(self, item: EntryInWork) -> str:
        """Where people find it: its path in the file system, or else in the snapshot."""
        real = item.entry.real_path(item.open_path)
        if real is None:
            return os.fsdecode(item.path)
        for source in self._sources:  # a frozen copy's path is one source's alone
            real = source.shown_path(real)
        return os.fsdecode(real)

    def _advance(self, size_bytes: int) -> None:
        self.progress.bytes_done += size_bytes
