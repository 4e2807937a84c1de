"""Loads the ranges that are needed and has workers write them: every pack once, in threads that only wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError, LimpetError, MissingFileError, RepositoryError
from limpet.format.pack import BlobKind
from limpet.operations.restore import tasks
from limpet.operations.restore.needs import NeededBlob, NeededRange, Needs, output_portions
from limpet.operations.restore.run import Run
from limpet.operations.restore.taskqueue import Batch
from limpet.repository.workers import BuffersClosedError, SharedBuffers

FINISH_BATCH = 32


class Loader:
    """Brings all needed blobs to their files."""

    def __init__(self, run: Run, needs: Needs, buffers: SharedBuffers, threads: int) -> None:
        self._run = run
        self._buffers = buffers
        self._ranges: Iterator[NeededRange] = needs.ranges(buffers.size_bytes)
        self._ranges_lock = threading.Lock()
        self._threads = [threading.Thread(target=self._load_all, daemon=True) for _ in range(threads)]
        self._threads_left = threads
        self._finished = Batch(run.queue, FINISH_BATCH, tasks.finish_files, self._files_finished)

    def run(self) -> None:
        """Return when all is written and every file that could be completed is finished."""
        for number in self._run.files.identities:
            if not self._run.files.missing[number]:  # only its size was wrong
                self._finish(number)
        for thread in self._threads:
            thread.start()
        queue = self._run.queue
        queue.run_until(lambda: self._threads_left == 0 and queue.is_idle)
        self._finished.flush()
        queue.drain()

    # -- in the threads -----------------------------------------------------------------------------------------

    def _load_all(self) -> None:
        try:
            while True:
                number = self._buffers.acquire()
                with self._ranges_lock:
                    needed = next(self._ranges, None)
                if needed is None:
                    self._buffers.release(number)
                    break
                self._load(needed, number)
        except BuffersClosedError:
            return
        except BaseException as error:  # for the thread that waits for us
            self._run.queue.post(partial(_raise, error))
        self._run.queue.post(self._thread_left)

    def _load(self, needed: NeededRange, number: int) -> None:
        handle = Handle(FileKind.PACK, needed.pack_id.hex())
        backend = self._run.repository.backend
        source: int | bytes = number
        try:
            if needed.length_bytes <= self._buffers.size_bytes:
                backend.load_into(handle, needed.offset_bytes, self._buffers.view(number)[: needed.length_bytes])
            else:  # a single blob larger than any that restic makes
                source = backend.load(handle, needed.offset_bytes, needed.length_bytes)
        except BackendError as error:
            self._buffers.release(number)
            for blob in needed.blobs:
                self._run.queue.post(partial(self._recover, blob, error))
            return
        self._run.queue.post(partial(self._write, needed, source, number))

    # -- in the thread that handles results ---------------------------------------------------------------------

    def _thread_left(self) -> None:
        self._threads_left -= 1

    def _write(self, needed: NeededRange, source: int | bytes, number: int) -> None:
        """Have the blobs of a loaded range written; the buffer is free after the last portion."""
        portions = list(output_portions(needed.blobs))
        left = len(portions)

        def written(portion: list[NeededBlob], outcome: tuple[list[tuple[int, str]], list[tasks.Failure]]) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._buffers.release(number)
            self._written(portion, outcome)

        for portion in portions:
            blobs: list[tasks.BlobTask] = [
                (
                    blob.offset_bytes - needed.offset_bytes,
                    blob.length_bytes,
                    blob.plain_length_bytes,
                    blob.blob_id,
                    blob.targets,
                )
                for blob in portion
            ]
            self._run.queue.submit_now(
                partial(written, portion),
                tasks.write_blobs,
                source,
                blobs,
                self._files_of(portion),
                is_sealed=True,
                is_sparse=self._run.options.sparse,
            )

    def _files_of(self, blobs: list[NeededBlob]) -> dict[int, tasks.WholeFile | tasks.PartialFile]:
        """What the workers need to know of the files; targets in files that are lost already are dropped."""
        files = self._run.files
        found: dict[int, tasks.WholeFile | tasks.PartialFile] = {}
        for blob in blobs:
            if files.failed:
                blob.targets[:] = [target for target in blob.targets if target[0] not in files.failed]
            for number, _ in blob.targets:
                identity = files.identities.get(number)
                if identity is None:
                    found[number] = (files.folders[number], files.records[number])
                elif number not in found:
                    is_sparse = self._run.options.sparse and number not in files.kept
                    found[number] = (files.folders[number], files.name(number), identity, is_sparse)
        return found

    def _written(self, blobs: list[NeededBlob], outcome: tuple[list[tuple[int, str]], list[tasks.Failure]]) -> None:
        damaged, failures = outcome
        self._run.files_failed(failures)
        lost = {index for index, _ in damaged}
        for index, blob in enumerate(blobs):
            if index not in lost:
                self._blob_done(blob)
        for index, reason in damaged:
            self._recover(blobs[index], IntegrityError(reason))

    def _blob_done(self, blob: NeededBlob) -> None:
        run, files = self._run, self._run.files
        size = blob.data_length_bytes
        for number, _ in blob.targets:
            if files.failed and number in files.failed:
                continue
            run.progress.bytes_done += size
            files.missing[number] -= 1
            if files.missing[number] == 0:
                if number in files.identities:
                    self._finish(number)
                else:
                    run.file_done(number)

    def _finish(self, number: int) -> None:
        """Have the metadata set of a file that lacks nothing."""
        files = self._run.files
        self._finished.add((number, files.folders[number], files.records[number], files.identities[number]))

    def _recover(self, blob: NeededBlob, error: LimpetError) -> None:
        """Write the blob from another of its places; else the files that need it are lost."""
        try:
            data = self._load_elsewhere(blob, error)
        except (IntegrityError, BackendError, RepositoryError) as cause:
            for number, _ in blob.targets:
                self._run.file_failed(number, f"blob {blob.blob_id.hex()} cannot be read: {cause}")
            return
        for portion in output_portions([blob]):
            task: list[tasks.BlobTask] = [(0, len(data), 0, blob.blob_id, portion[0].targets)]
            self._run.queue.submit_now(
                partial(self._written, portion),
                tasks.write_blobs,
                data,
                task,
                self._files_of(portion),
                is_sealed=False,
                is_sparse=self._run.options.sparse,
            )

    def _load_elsewhere(self, blob: NeededBlob, error: LimpetError) -> bytes:
        """The verified blob, asked for by itself: one bad spot must not cost its neighbours.

        A pack that is not there is not asked for again.
        """
        repository = self._run.repository
        places = repository.index.find_all(BlobKind.DATA, blob.blob_id)
        if len(places) < 2 and isinstance(error, MissingFileError):
            raise error
        return repository.load_blob(BlobKind.DATA, blob.blob_id)

    def _files_finished(
        self, items: list[tuple[int, bytes, bytes, tasks.Identity]], failures: list[tasks.Failure]
    ) -> None:
        self._run.files_failed(failures)
        for number, *_ in items:
            if number not in self._run.files.failed:
                self._run.file_done(number)


def _raise(error: BaseException) -> None:
    raise error
