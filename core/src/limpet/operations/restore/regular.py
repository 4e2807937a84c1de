"""Plans regular files: what of them is there already, what has to be made, and which blobs go where."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from limpet.errors import RepositoryError
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.restore import tasks
from limpet.operations.restore.needs import Needs
from limpet.operations.restore.options import Overwrite
from limpet.operations.restore.record import Entry
from limpet.operations.restore.run import Run
from limpet.operations.restore.target import join
from limpet.operations.restore.taskqueue import Batch
from limpet.repository.blob_index import Place, data_length

BATCH_SIZE = 128
COMPARE_BYTES = 256 * 1024 * 1024
"""A worker reads about this much in one task, so that it can be stopped, and many can work on one file."""

PlacedBlob = tuple[BlobId, Place]


@dataclass(slots=True)
class _File:
    """A file being planned."""

    folder: bytes
    name: bytes
    record: bytes
    ordinal: int
    size: int
    blobs: list[PlacedBlob]
    is_update: bool = False


@dataclass(slots=True)
class _Comparison:
    """A file that the workers compare with what is there; `matches` holds a 1 for each blob in its place."""

    file: _File
    existing: os.stat_result
    matches: bytearray
    portions_left: int


class RegularFiles:
    """Plans one file after the other; what needs no data is done by the workers meanwhile."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.needs = Needs()
        queue = run.queue
        self._empty = Batch(queue, BATCH_SIZE, tasks.create_empty_files, self._files_made)
        self._created = Batch(queue, BATCH_SIZE, tasks.create_files, self._files_created)
        self._unchanged = Batch(queue, BATCH_SIZE, tasks.finish_files, lambda _, failures: run.files_failed(failures))

    def flush(self) -> None:
        """Send off what waits for more of its kind. Comparisons must have ended."""
        for batch in (self._empty, self._created, self._unchanged):
            batch.flush()

    def plan(self, folder: bytes, node: Entry, ordinal: int, existing: os.stat_result | None) -> None:
        """Plan one file, that may replace what is there."""
        blobs, size = self._locate(folder, node)
        if blobs is None:
            return
        file = _File(folder, node.name, node.record(), ordinal, size, blobs)
        # A file with more names than it had may share its content with a file outside the target: never touch it.
        if existing is None or not stat.S_ISREG(existing.st_mode) or existing.st_nlink > max(1, node.links):
            file.is_update = existing is not None and stat.S_ISREG(existing.st_mode)
            self._plan_new(file)
            return
        file.is_update = True
        trusted = self._run.options.overwrite is Overwrite.IF_CHANGED and existing.st_mtime_ns == node.mtime_ns
        if existing.st_size == size and (trusted or not blobs):
            self._plan_unchanged(file, existing)
        elif not blobs:
            self._plan_new(file)
        else:
            self._compare(file, existing)

    def _locate(self, folder: bytes, node: Entry) -> tuple[list[PlacedBlob] | None, int]:
        """Where the content's blobs are, and its size; None, reported, if one of them is in no index."""
        # The table itself: BlobLocation objects would cost three times as much.
        find, kind = self._run.repository.index.table.find, BlobKind.DATA.value
        blobs: list[PlacedBlob] = []
        size = 0
        for blob_id in node.content:
            place = find(kind, blob_id)
            if place is None:
                self._run.expect(node.size)
                error = RepositoryError(f"blob {blob_id.hex()} is in no index: its content is lost")
                self._run.report(b"/" + join(folder, node.name), error)
                return None, 0
            blobs.append((blob_id, place))
            size += data_length(place)
        if size != node.size:
            path = os.fsdecode(b"/" + join(folder, node.name))
            self._run.reporter.warning(f"Warning: {path}: recorded with {node.size} bytes, but its content has {size}")
        return blobs, size

    def _plan_new(self, file: _File) -> None:
        """All of the content is to be written."""
        run, blobs = self._run, file.blobs
        run.expect(file.size)
        number = self._add(file, missing=len(blobs))
        if run.options.dry_run:
            run.progress.bytes_done += file.size
            run.file_done(number)
        elif not blobs:
            self._empty.add((number, file.folder, file.record))
        else:
            if len(blobs) > 1:
                self._created.add((number, file.folder, file.name, file.size, False))
            offset = 0
            for blob_id, place in blobs:
                self.needs.add(blob_id, place, number, offset)
                offset += data_length(place)

    def _plan_unchanged(self, file: _File, existing: os.stat_result) -> None:
        """The content is right: only the metadata is set."""
        self._run.skip(b"/" + join(file.folder, file.name), file.size)
        if not self._run.options.dry_run:
            number = self._add(file, missing=0)
            self._unchanged.add((number, file.folder, file.record, (existing.st_dev, existing.st_ino)))

    def _plan_update(self, file: _File, matches: bytearray) -> None:
        """Some of the content is right and stays."""
        run = self._run
        run.expect(file.size)
        number = self._add(file, missing=matches.count(0))
        if run.options.dry_run:
            run.progress.bytes_done += file.size
            run.file_done(number)
            return
        run.files.kept.add(number)
        self._created.add((number, file.folder, file.name, file.size, True))
        offset = 0
        for is_right, (blob_id, place) in zip(matches, file.blobs, strict=True):
            if is_right:
                run.progress.bytes_done += data_length(place)
            else:
                self.needs.add(blob_id, place, number, offset)
            offset += data_length(place)

    def _add(self, file: _File, *, missing: int) -> int:
        return self._run.files.add(
            file.folder,
            file.record,
            size=file.size,
            missing=missing,
            ordinal=file.ordinal,
            is_update=file.is_update,
        )

    # -- comparing ----------------------------------------------------------------------------------------------

    def _compare(self, file: _File, existing: os.stat_result) -> None:
        """Have the workers find out which blobs are in their place."""
        portions = compare_portions([(blob_id, data_length(place)) for blob_id, place in file.blobs])
        comparison = _Comparison(file, existing, bytearray(len(file.blobs)), len(portions))
        for first, begin, blobs in portions:

            def compared(matches: bytes, first: int = first) -> None:
                comparison.matches[first : first + len(matches)] = matches
                comparison.portions_left -= 1
                if not comparison.portions_left:
                    self._compared(comparison)

            self._run.queue.submit(compared, tasks.compare_file, file.folder, file.name, begin, blobs)

    def _compared(self, comparison: _Comparison) -> None:
        file, existing, matches = comparison.file, comparison.existing, comparison.matches
        if all(matches) and existing.st_size == file.size:
            self._plan_unchanged(file, existing)
        elif any(matches) and existing.st_nlink == 1:
            self._plan_update(file, matches)
        else:
            self._plan_new(file)

    # -- results ------------------------------------------------------------------------------------------------

    def _files_made(self, items: list[tuple[int, bytes, bytes]], failures: list[tasks.Failure]) -> None:
        self._run.files_failed(failures)
        for number, _, _ in items:
            if number not in self._run.files.failed:
                self._run.file_done(number)

    def _files_created(
        self,
        _items: list[tuple[int, bytes, bytes, int, bool]],
        made: tuple[list[tuple[int, tasks.Identity]], list[tasks.Failure]],
    ) -> None:
        identities, failures = made
        self._run.files.identities.update(identities)
        self._run.files_failed(failures)


def compare_portions(blobs: list[tuple[bytes, int]]) -> list[tuple[int, int, list[tuple[bytes, int]]]]:
    """`(id, length)` of a file's blobs cut into `(first index, offset in the file, blobs)` of about COMPARE_BYTES."""
    portions: list[tuple[int, int, list[tuple[bytes, int]]]] = [(0, 0, [])]
    offset = 0
    for index, blob in enumerate(blobs):
        if offset - portions[-1][1] >= COMPARE_BYTES:
            portions.append((index, offset, []))
        portions[-1][2].append(blob)
        offset += blob[1]
    return portions
