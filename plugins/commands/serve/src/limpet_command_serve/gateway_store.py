"""`GatewayStore`: repositories in any of Limpet's backends instead of a folder, `--backend LOCATION`.

An upload is spooled to a temporary file and saved as a whole when it is complete; a download is loaded in ranges, the
next one while the one before goes out. What the storage says of itself (where it is, what it is called) is told in the
server's log; clients hear only what it means for them.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

from limpet.contracts.backend import Backend, FileInfo, FileKind, Handle
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, StorageFullError

from limpet_command_serve.gateway_backends import GatewayBackends, Place
from limpet_command_serve.names import Folders, StoredFile
from limpet_command_serve.settings import Settings
from limpet_command_serve.spool import Spool
from limpet_command_serve.store import BehindError, FileStatus, NoSpaceError, Outcome, Reading, Removal, Store, Upload

MIB = 1 << 20
RANGE_BYTES = 2 * MIB
"""Of each load: enough for an object store's round trip to count little; two of them are held for each download."""
AHEAD_THREADS = 8
KNOWN_SIZES = 20_000
"""So many sizes of files are remembered, for clients that read a pack in many ranges."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

Tell = Callable[[str], None]


class GatewayStore(Store):
    """Each repository is a folder or prefix of that name below the location."""

    def __init__(self, backends: GatewayBackends, tell: Tell, spool_folder: str | None = None) -> None:
        self._backends = backends
        self._tell = tell
        self._spool_folder = spool_folder
        self._ahead = ThreadPoolExecutor(AHEAD_THREADS, "limpet-serve-ahead")
        self._sizes = _Sizes(KNOWN_SIZES)
        self._saving = _OneAtATime()

    @classmethod
    def of(cls, settings: Settings, tell: Tell) -> Self:
        """The store at the location of the settings; UsageError, PluginError where that or an option is wrong.

        Nothing is asked of the backend's server yet.
        """
        place = Place(
            settings.backend or "",
            settings.backend_options,
            Transport(**settings.backend_transport),
            settings.backend_limit_upload,
            settings.backend_limit_download,
        )
        backends = GatewayBackends(place)
        backends.verify()
        return cls(backends, tell)

    def create(self, folders: Folders) -> None:
        with self._backend(folders) as backend:
            backend.create()

    def list(self, folders: Folders, kind: FileKind) -> Sequence[FileInfo]:
        """No store tells an empty prefix from none, so a repository that is not there has no files."""
        with self._backend(folders) as backend:
            return list(backend.list(kind))

    def stat(self, file: StoredFile) -> FileStatus:
        """Backends know no times: a file is taken for one just stored, which no rule about age lets go."""
        with self._backend(file.folders) as backend:
            return FileStatus(backend.stat(_handle(file)).size_bytes, time.time())

    def open(self, file: StoredFile) -> Reading:
        size_bytes = self._sizes.get(file)
        if size_bytes is None:
            size_bytes = self.stat(file).size_bytes
            self._sizes.put(file, size_bytes)

        def load(offset_bytes: int, length_bytes: int) -> bytes:
            try:
                with self._backend(file.folders) as backend:
                    return backend.load(_handle(file), offset_bytes, length_bytes)
            except BackendError:
                self._sizes.forget(file)  # it may be gone, or another
                raise

        return _GatewayReading(size_bytes, load, self._ahead)

    def begin(self, file: StoredFile, size_bytes: int | None) -> Upload:
        with _spooling():
            return _GatewayUpload(self._commit, file, Spool(self._spool_folder))

    def remove(self, file: StoredFile) -> Removal:
        with self._saving.of(file), self._backend(file.folders) as backend:
            size_bytes = backend.stat(_handle(file)).size_bytes
            self._sizes.forget(file)
            backend.remove(_handle(file))
            return Removal(size_bytes, size_bytes)

    def close(self) -> None:
        self._backends.close()
        self._ahead.shutdown(cancel_futures=True)

    def _commit(self, file: StoredFile, spool: Spool) -> Outcome:
        handle = _handle(file)
        with self._saving.of(file), self._backend(file.folders) as backend:
            try:
                there = backend.stat(handle)
            except MissingFileError:
                backend.save(handle, spool.content())
                return Outcome.STORED
            same = there.size_bytes == spool.size_bytes and _sha256(backend, handle, spool.size_bytes) == spool.digest()
            return Outcome.SAME if same else Outcome.OTHER

    @contextmanager
    def _backend(self, folders: Folders) -> Iterator[Backend]:
        with _told(self._tell), self._backends.use(folders) as backend:
            try:
                yield backend
            except MissingFileError as error:  # names the place where it is missing
                raise MissingFileError("there is no such file") from error


class _GatewayReading(Reading):
    """Ranges of `RANGE_BYTES`, the next one always on its way; the first is only as long as what is asked for."""

    def __init__(self, size_bytes: int, load: Callable[[int, int], bytes], ahead: ThreadPoolExecutor) -> None:
        self.size_bytes = size_bytes
        self._load = load
        self._ahead = ahead
        self._end = size_bytes
        self._held = b""
        self._held_from = 0
        self._next: Future[bytes] | None = None

    def expect(self, offset_bytes: int, length_bytes: int) -> None:
        self._end = min(self.size_bytes, offset_bytes + length_bytes)

    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        if offset_bytes >= self._end:
            return 0
        start = offset_bytes - self._held_from
        if not 0 <= start < len(self._held):
            self._turn_to(offset_bytes)
            start = 0
        piece = memoryview(self._held)[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._held = b""

    def _turn_to(self, offset: int) -> None:
        following, self._next = self._next, None
        if following is not None and offset == self._held_from + len(self._held):
            self._held = following.result()
        else:
            self._held = self._load(offset, min(RANGE_BYTES, self._end - offset))
        self._held_from = offset
        after = offset + len(self._held)
        if after < self._end:
            self._next = self._ahead.submit(self._load, after, min(RANGE_BYTES, self._end - after))


class _GatewayUpload(Upload):
    """Whole in the spool before the backend hears of it: an upload that breaks off leaves nothing anywhere."""

    def __init__(self, commit: Callable[[StoredFile, Spool], Outcome], file: StoredFile, spool: Spool) -> None:
        self._commit = commit
        self._file = file
        self._spool = spool

    def write(self, data: memoryview) -> None:
        with _spooling():
            self._spool.write(data)

    def commit(self) -> Outcome:
        return self._commit(self._file, self._spool)

    def close(self) -> None:
        self._spool.close()


class _Sizes:
    """The sizes of the files asked for last. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[StoredFile, int] = OrderedDict()

    def get(self, file: StoredFile) -> int | None:
        with self._lock:
            size_bytes = self._known.get(file)
            if size_bytes is not None:
                self._known.move_to_end(file)
            return size_bytes

    def put(self, file: StoredFile, size_bytes: int) -> None:
        if file.kind is FileKind.CONFIG:
            return  # the only one that could be another of the same name
        with self._lock:
            self._known[file] = size_bytes
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def forget(self, file: StoredFile) -> None:
        with self._lock:
            self._known.pop(file, None)


class _OneAtATime:
    """Who changes a file has it alone: two uploads of one name must not both find that there is none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy: set[StoredFile] = set()

    @contextmanager
    def of(self, file: StoredFile) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: file not in self._busy)
            self._busy.add(file)
        try:
            yield
        finally:
            with self._changed:
                self._busy.remove(file)
                self._changed.notify_all()


def _handle(file: StoredFile) -> Handle:
    return Handle(file.kind, file.name)


def _sha256(backend: Backend, handle: Handle, size_bytes: int) -> bytes:
    digest = hashlib.sha256()
    for offset in range(0, size_bytes, RANGE_BYTES):
        digest.update(backend.load(handle, offset, min(RANGE_BYTES, size_bytes - offset)))
    return digest.digest()


@contextmanager
def _told(tell: Tell) -> Iterator[None]:
    """What goes wrong behind the gateway, as the server knows it, in words that a client may see."""
    try:
        yield
    except (MissingFileError, NoSpaceError, BehindError):
        raise
    except StorageFullError as error:
        tell(str(error))
        raise NoSpaceError("the storage behind the gateway is full, its log says more") from error
    except BackendError as error:
        tell(str(error))
        meaning = "refuses this" if error.permanent else "does not answer for now"
        raise BehindError(
            f"the storage behind the gateway {meaning}, its log says more",
            permanent=error.permanent,
            retry_after_s=error.retry_after_s,
        ) from error


@contextmanager
def _spooling() -> Iterator[None]:
    """What goes wrong with the temporary file."""
    try:
        yield
    except OSError as error:
        reason = f"cannot spool the upload: {error.strerror}"
        if error.errno in _NO_SPACE:
            raise NoSpaceError(reason) from error
        raise BackendError(reason) from error
