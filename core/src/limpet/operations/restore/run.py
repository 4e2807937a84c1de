"""One restore in progress: what its parts share, and the only place that counts and reports."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field

from limpet.errors import LimpetError
from limpet.operations.restore.metadata import MetadataPolicy
from limpet.operations.restore.options import RestoreOptions, RestoreResult
from limpet.operations.restore.record import record_name
from limpet.operations.restore.target import Target, join
from limpet.operations.restore.taskqueue import TaskQueue
from limpet.operations.restore.tasks import Failure, Identity, WorkerState
from limpet.progress import ItemEvent, Progress, Reporter
from limpet.repository.repository import Repository


class RestoreError(LimpetError):
    """Something could not be restored; the message is the reason without the item, which is told apart."""


class FileTable:
    """The regular files and special nodes in work, by number; about 250 bytes each."""

    def __init__(self) -> None:
        self.folders: list[bytes] = []
        self.records: list[bytes] = []
        self.sizes = array("Q")
        self.missing = array("I")
        """How many blobs the file still lacks."""
        self.ordinals = array("q")
        """Place among all regular files of the walk; -1 for a special node."""
        self.updates = bytearray()
        """1 where the file was there before."""
        self.identities: dict[int, Identity] = {}
        """Of files that are written blob by blob."""
        self.kept: set[int] = set()
        """Files of which some content stays; they cannot get new holes."""
        self.failed: set[int] = set()

    def add(self, folder: bytes, record: bytes, *, size: int, missing: int, ordinal: int, is_update: bool) -> int:
        """The number of a new entry."""
        self.folders.append(folder)
        self.records.append(record)
        self.sizes.append(size)
        self.missing.append(missing)
        self.ordinals.append(ordinal)
        self.updates.append(is_update)
        return len(self.folders) - 1

    def name(self, number: int) -> bytes:
        """The file's name in its folder."""
        return record_name(self.records[number])

    def location(self, number: int) -> bytes:
        """The path in the snapshot."""
        return b"/" + join(self.folders[number], self.name(number))


@dataclass(slots=True)
class Run:
    """Everything one restore knows; used by the thread that called `restore` alone."""

    repository: Repository
    options: RestoreOptions
    reporter: Reporter
    target: Target
    target_path: bytes
    policy: MetadataPolicy
    queue: TaskQueue[WorkerState]
    progress: Progress = field(default_factory=lambda: Progress("restore", files_total=0, bytes_total=0))
    result: RestoreResult = field(default_factory=RestoreResult)
    files: FileTable = field(default_factory=FileTable)
    wants_items: bool = False
    lost: set[bytes] = field(default_factory=set)
    """Paths in the snapshot for which an error was reported."""

    # -- what was found -----------------------------------------------------------------------------------------

    def expect(self, size_bytes: int = 0) -> None:
        """One more file, folder or other entry to restore."""
        self.progress.files_total = (self.progress.files_total or 0) + 1
        self.progress.bytes_total = (self.progress.bytes_total or 0) + size_bytes

    def skip(self, location: bytes, size_bytes: int) -> None:
        """An entry stays as it is."""
        self.progress.files_skipped += 1
        self.progress.bytes_skipped += size_bytes
        self._item("unchanged", location, size_bytes)

    # -- what was done ------------------------------------------------------------------------------------------

    def file_done(self, number: int) -> None:
        """A regular file has all its content."""
        files = self.files
        self.progress.files_done += 1
        if files.ordinals[number] >= 0:
            self.result.restored[files.ordinals[number]] = 1
        if self.wants_items:
            action = "updated" if files.updates[number] else "restored"
            self._item(action, files.location(number), files.sizes[number])

    def other_done(self, location: bytes, *, is_folder: bool = False) -> None:
        """A folder, link or special file is restored."""
        self.progress.files_done += 1
        self._item("restored", location, 0, is_folder=is_folder, is_special=not is_folder)

    def deleted(self, path: bytes) -> None:
        """What the snapshot does not hold is removed; `path` is below the target."""
        self.progress.files_deleted += 1
        self._item("deleted", self.target_path + b"/" + path, 0)

    # -- what went wrong ----------------------------------------------------------------------------------------

    def report(self, location: bytes, error: Exception) -> None:
        """One entry is lost, or not as it should be."""
        self.lost.add(location)
        self.result.errors += 1
        self.progress.errors += 1
        self.reporter.error(error, during="restore", item=os.fsdecode(location))

    def file_failed(self, number: int, reason: str) -> None:
        """A file is lost; reported once, whatever goes wrong with it later."""
        if number not in self.files.failed:
            self.files.failed.add(number)
            self.report(self.files.location(number), RestoreError(reason))

    def files_failed(self, failures: list[Failure]) -> None:
        """All these are lost."""
        for number, reason in failures:
            self.file_failed(number, reason)

    def _item(
        self, action: str, location: bytes, size_bytes: int, *, is_folder: bool = False, is_special: bool = False
    ) -> None:
        if self.wants_items:
            path = os.fsdecode(location)
            self.reporter.item(ItemEvent(action, path, is_folder, size_bytes, is_special=is_special))
