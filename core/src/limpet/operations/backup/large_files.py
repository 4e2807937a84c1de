"""Files of more than one chunk: read into shared windows, cut by the chunker, sealed by the workers.

Chunks of a window go to the workers, and so into packs, in random order: the lengths of the chunks in a pack
then do not tell which well-known file it holds (restic pull request 5295).
"""

from __future__ import annotations

import os
import queue
import random
import stat as stat_modes
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from limpet import filesystem
from limpet.contracts.source import Extent, StatLike
from limpet.errors import SourceError
from limpet.format.chunker import MAX_SIZE, MIN_SIZE, ZERO_CHUNK, Chunker
from limpet.ids import BlobId
from limpet.operations.backup.content import Chunk, Content, KnownStream, RealFile, Stream
from limpet.operations.backup.reading import SealedChunks, seal_data, seal_window
from limpet.repository.saver import BlobSaver
from limpet.repository.workers import BuffersClosedError

MIB = 1024 * 1024
WINDOW_SIZE = MAX_SIZE + 2 * MIB
"""Holds the longest chunk and, on average, seven."""
TASK_BYTES = 4 * MIB
QUEUED_FILES = 64

_ZEROS = bytes(MIN_SIZE)
_random = random.SystemRandom()


@dataclass(slots=True)
class LargeFile:
    """A file on its way. Sizes in bytes; `error` set means that it cannot go into the snapshot."""

    path: bytes
    name: bytes
    status: StatLike
    open_folder: bytes | None = None
    """Real path of its folder; None for a stream."""
    stream: Callable[[], BinaryIO] | None = None
    extents: Sequence[Extent] | None = None
    """What the source knows of the stream."""
    known: Sequence[Chunk] = ()
    """The chunks of the parent's file, if all are in the repository."""
    xattrs: Sequence[tuple[bytes, bytes]] = ()
    chunks: list[BlobId] = field(default_factory=list)
    size: int = 0
    added: int = 0
    stored: int = 0
    error: Exception | None = None
    started_s: float = field(default_factory=time.monotonic)
    pending: int = 1
    """Tasks in work, and one for the reader itself."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class LargeFileReader:
    """Reads large files in threads of its own. `finished(file)` and `failed(error)` are called in some thread.

    `devices` as `Source.devices`.
    """

    def __init__(
        self,
        saver: BlobSaver,
        chunker: Chunker,
        threads: int,
        *,
        devices: Mapping[int, int],
        finished: Callable[[LargeFile], None],
        failed: Callable[[BaseException], None],
        advanced: Callable[[int], None],
    ) -> None:
        self._saver = saver
        self._chunker = chunker
        self._devices = devices
        self._finished = finished
        self._failed = failed
        self._advanced = advanced
        self._queue: queue.Queue[LargeFile | None] = queue.Queue(QUEUED_FILES)
        self._zero_stored = False
        self._threads = [threading.Thread(target=self._work, name="limpet-read", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def offer(self, file: LargeFile) -> bool:
        """Take the file to read when its turn comes; False while too many are queued."""
        try:
            self._queue.put_nowait(file)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """End the threads when the queue is empty."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (file := self._queue.get()) is not None:
            try:
                self._read(file)
            except BuffersClosedError:
                return
            except BaseException as error:
                self._failed(error)
                return

    def _read(self, file: LargeFile) -> None:
        try:
            if file.stream is not None:
                with file.stream() as stream:
                    self._chunk(file, _content_of(file, stream))
            else:
                self._read_real(file)
        except (OSError, SourceError) as error:  # of this file alone, or of the target that it belongs to
            file.error = error
        self._settle(file)

    def _read_real(self, file: LargeFile) -> None:
        assert file.open_folder is not None
        folder = filesystem.open_folder(file.open_folder)
        try:
            fd = filesystem.open_file(file.name, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            file.status = filesystem.on_device(os.fstat(fd), self._devices)
            if not stat_modes.S_ISREG(file.status.st_mode):
                raise OSError("is no regular file any more")
            file.xattrs = filesystem.read_xattrs(fd)
            self._chunk(file, RealFile(fd, file.status))
        finally:
            os.close(fd)

    def _chunk(self, file: LargeFile, content: Content) -> None:
        """Cut the content and hand every chunk to the workers."""
        window = _Window(self._saver)
        filled = position = 0  # bytes in the window; where the window starts in the file
        try:
            while True:
                zeros = content.hole_bytes(position) // MIN_SIZE
                if zeros:
                    self._add_zeros(file, zeros)
                    position += zeros * MIN_SIZE
                    filled = 0
                    content.seek(position)
                if known := content.unchanged(position):
                    position += self._add_known(file, known)
                    filled = 0
                    content.seek(position)
                    continue
                filled, ended = content.fill(window.view, filled, position)
                lengths = self._chunker.cuts(window.view[:filled], ended)
                self._dispatch(file, window, lengths)
                if ended:
                    return
                used = sum(lengths)
                position += used
                filled -= used
                if used:
                    fresh = _Window(self._saver)
                    fresh.view[:filled] = window.view[used : used + filled]
                    window.release()
                    window = fresh
        finally:
            window.release()

    def _dispatch(self, file: LargeFile, window: _Window, lengths: Sequence[int]) -> None:
        """Give the window's chunks to the workers, in random order and in tasks of a few MiB."""
        chunks: list[tuple[int, int, int]] = []  # place in the file's list, offset in the window, length
        offset = 0
        for length in lengths:
            if length == MIN_SIZE and _is_zero(window.view[offset : offset + length]):
                self._add_zeros(file, 1)
            else:
                chunks.append((len(file.chunks), offset, length))
                file.chunks.append(ZERO_CHUNK)  # its place, until the id is known
                file.size += length
            offset += length
        _random.shuffle(chunks)
        task: list[tuple[int, int, int]] = []
        task_bytes = 0
        for chunk in chunks:
            if task and task_bytes + chunk[2] > TASK_BYTES:
                self._submit(file, window, task)
                task, task_bytes = [], 0
            task.append(chunk)
            task_bytes += chunk[2]
        if task:
            self._submit(file, window, task)

    def _submit(self, file: LargeFile, window: _Window, chunks: list[tuple[int, int, int]]) -> None:
        def done(sealed: SealedChunks | None, error: BaseException | None) -> None:
            window.release()
            if sealed is None:
                assert error is not None
                self._failed(error)
                return
            for (place, _, _), blob_id in zip(chunks, sealed.ids, strict=True):
                file.chunks[place] = blob_id
            self._advanced(sum(length for _, _, length in chunks))
            self._settle(file, sealed)

        self._saver.check()  # a storage that fails ends the reading of a stream that has no end of its own
        window.retain()
        with file.lock:
            file.pending += 1
        self._saver.submit(seal_window, done, window.number, [(offset, length) for _, offset, length in chunks])

    def _add_known(self, file: LargeFile, chunks: Sequence[Chunk]) -> int:
        """Append chunks of the parent, which are in the repository; their size in bytes."""
        size_bytes = sum(length for _, length in chunks)
        file.chunks.extend(blob_id for blob_id, _ in chunks)
        file.size += size_bytes
        self._advanced(size_bytes)
        return size_bytes

    def _add_zeros(self, file: LargeFile, count: int) -> None:
        """Append chunks of zeros: no byte of them is read, hashed or sealed more than once in a run."""
        if not self._zero_stored:
            self._zero_stored = True
            with file.lock:
                file.pending += 1
            self._saver.submit(seal_data, lambda sealed, error: self._zeros_stored(file, sealed, error), [_ZEROS])
        file.chunks.extend([ZERO_CHUNK] * count)
        file.size += count * MIN_SIZE
        self._advanced(count * MIN_SIZE)

    def _zeros_stored(self, file: LargeFile, sealed: SealedChunks | None, error: BaseException | None) -> None:
        if sealed is None:
            assert error is not None
            self._failed(error)
        else:
            self._settle(file, sealed)

    def _settle(self, file: LargeFile, sealed: SealedChunks | None = None) -> None:
        """One task of the file, or its reader, is done."""
        with file.lock:
            if sealed is not None:
                file.added += sealed.added
                file.stored += sealed.stored
            file.pending -= 1
            last = file.pending == 0
        if last:
            self._finished(file)


class _Window:
    """A shared buffer with content; free again when nobody uses it any more."""

    def __init__(self, saver: BlobSaver) -> None:
        self._buffers = saver.windows
        self.number = self._buffers.acquire()
        self.view = self._buffers.view(self.number)
        self._users = 1
        self._lock = threading.Lock()

    def retain(self) -> None:
        with self._lock:
            self._users += 1

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._buffers.release(self.number)


def _content_of(file: LargeFile, stream: BinaryIO) -> Content:
    if file.extents is None:
        return Stream(stream)
    return KnownStream(stream, os.fsdecode(file.path), file.status.st_size, file.extents, file.known)


def _is_zero(view: memoryview) -> bool:
    # Looking at three bytes spares a copy of nearly every chunk that is not zero.
    return view[0] == 0 and view[-1] == 0 and view[MIN_SIZE // 2] == 0 and bytes(view) == _ZEROS
