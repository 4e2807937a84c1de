"""Reads restored files again and compares them with the snapshot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from limpet import filesystem
from limpet.errors import IntegrityError, UsageError
from limpet.format.filemode import NodeType
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.restore import tasks
from limpet.operations.restore.metadata import MetadataPolicy
from limpet.operations.restore.options import RestoreOptions, RestoreResult
from limpet.operations.restore.record import Entry
from limpet.operations.restore.regular import compare_portions
from limpet.operations.restore.restorer import RestoreWorkers, load_tree
from limpet.operations.restore.target import Target, join
from limpet.operations.restore.taskqueue import TaskQueue
from limpet.operations.restore.traverse import Walk, WalkedFolder
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.repository import Repository


def verify_files(
    repository: Repository,
    tree_id: BlobId,
    target: Path,
    options: RestoreOptions,
    result: RestoreResult,
    *,
    reporter: Reporter | None = None,
) -> int:
    """How many of the files that `restore` wrote hold what they should; the others are told and counted in `result`.

    Takes the options and the result of a restore without errors; UsageError after any other.
    """
    if result.errors or options.dry_run:
        raise UsageError("only a restore without errors can be verified")
    reporter = reporter or SilentReporter()
    root_fd = os.open(target, filesystem.FOLDER_FLAGS)
    try:
        make_state = partial(tasks.WorkerState, root_fd, os.fsencode(target), repository.key, MetadataPolicy())
        with RestoreWorkers(make_state, options.workers, 0) as workers:
            verification = _Verification(
                repository, Target(root_fd), os.fsencode(target), TaskQueue(workers.workers), result, reporter
            )
            reporter.begin(verification.progress)
            try:
                load = partial(load_tree, repository)
                Walk(load, options.select, verification, verification.report).run(tree_id)
                verification.queue.drain()
            finally:
                verification.target.close()
                reporter.end()
    finally:
        os.close(root_fd)
    return verification.progress.files_done


@dataclass(slots=True)
class _Verification:
    """The visitor that has every restored file read again."""

    repository: Repository
    target: Target
    target_path: bytes
    queue: TaskQueue[tasks.WorkerState]
    result: RestoreResult
    reporter: Reporter
    progress: Progress = field(default_factory=lambda: Progress("files verified"))
    ordinal: int = -1

    def __post_init__(self) -> None:
        self.progress.files_total = self.result.contents_restored

    def enter_folder(self, folder: WalkedFolder) -> None:
        """Nothing to do."""

    def leave_folder(self, folder: WalkedFolder) -> None:
        """Nothing to do."""

    def visit(self, folder: WalkedFolder, node: Entry) -> None:
        """Have the file compared if its content was written."""
        if node.type is not NodeType.FILE:
            return
        self.ordinal += 1
        if not self.result.restored[self.ordinal]:
            return
        path = join(folder.path, node.name)
        blobs: list[tuple[bytes, int]] = []
        for blob_id in node.content:
            found = self.repository.index.find(BlobKind.DATA, blob_id)
            assert found is not None  # else the restore had failed
            blobs.append((blob_id, found.data_length_bytes))
        size = sum(length for _, length in blobs)
        status = self.target.stat(folder.path, node.name)
        if status is None or status.st_size != size:
            found_size = "no file" if status is None else str(status.st_size)
            self.report(path, IntegrityError(f"Invalid file size: expected {size}, got {found_size}"))
            return
        self._compare(folder.path, node.name, blobs)

    def report(self, path: bytes, error: Exception) -> None:
        """One file is not what it should be."""
        self.result.errors += 1
        self.progress.errors += 1
        item = os.fsdecode(self.target_path + b"/" + path.lstrip(b"/"))
        self.reporter.error(error, during="restore", item=item)

    def _compare(self, folder: bytes, name: bytes, blobs: list[tuple[bytes, int]]) -> None:
        """Compare in portions; the file counts when the last one agrees."""
        wrong_at: list[int] = []
        portions = compare_portions(blobs)
        left = len(portions)

        def compared(begin: int, portion: list[tuple[bytes, int]], matches: bytes) -> None:
            nonlocal left
            left -= 1
            first = matches.find(0)
            if first >= 0:
                wrong_at.append(begin + sum(length for _, length in portion[:first]))
            if left:
                return
            if wrong_at:
                error = IntegrityError(f"Unexpected content, starting at offset {min(wrong_at)}")
                self.report(join(folder, name), error)
            else:
                self.progress.files_done += 1

        for _, begin, portion in portions:
            self.queue.submit(partial(compared, begin, portion), tasks.compare_file, folder, name, begin, portion)
