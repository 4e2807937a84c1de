"""Repositories in folders, as rest-server and restic's local backend lay them out: packs in `data/xx/`.

Uploads grow in the folder `.uploads` of their repository, which no request can name, and get their name when they are
whole and durable, in one step that fails where somebody has it, a second server on the same folder too. Symbolic links
below the root are not followed, whoever made them; a mount point is no link.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from limpet.contracts.backend import FileInfo, FileKind
from limpet.errors import BackendError, MissingFileError
from limpet.ids import is_hex_id

from limpet_command_serve.beneath import make_folders, opened_folder, sync_folder
from limpet_command_serve.cached import CachedFiles, read_cached
from limpet_command_serve.comparison import Comparison, same_content
from limpet_command_serve.names import MOST_FOLDERS, UPLOADS, Folders, StoredFile
from limpet_command_serve.store import FileStatus, NoSpaceError, Outcome, Reading, Removal, Store, Upload

R = TypeVar("R")

PREFIXES = tuple(f"{number:02x}" for number in range(256))
_KINDS = tuple(kind.value for kind in FileKind if kind is not FileKind.CONFIG)
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SWEEP_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Also for writing: a lock over NFS wants that."""
_NEW_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
"""A link in the place of a folder or file is ENOTDIR or ELOOP: it is as if it were not there."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""What file systems answer that have no hard links."""
_ABANDONED_S = 86_400.0
"""An upload whose file stood still for so long is none any more, where no lock can tell; it is cut much sooner."""


class FolderStore(Store):
    """Repositories below the folder `root`, which is made if it is missing."""

    def __init__(self, root: str, *, for_group: bool = False) -> None:
        self.root = root
        self._cached = CachedFiles(root)
        self.folder_mode, self.file_mode = (0o770, 0o660) if for_group else (0o700, 0o600)
        self.placing = threading.Lock()
        """Held while a name is looked up and given, where the file system cannot do that in one step."""
        self.making = threading.Lock()
        """Held from the making of a folder until it is durable: what others store in it is so no sooner."""

    def create(self, folders: Folders) -> None:
        with told(f"cannot make the repository {'/'.join(folders) or '/'}"):
            os.makedirs(self.root, self.folder_mode, exist_ok=True)
            with self.making:
                make_folders(self.root, folders, self.folder_mode)
                with opened_folder(self.root, folders) as repository:
                    self._make_all(repository, _KINDS)
                with opened_folder(self.root, (*folders, FileKind.PACK.value)) as data:
                    self._make_all(data, PREFIXES)

    def list(self, folders: Folders, kind: FileKind) -> Iterator[FileInfo]:
        parts = (*folders, kind.value)
        with told(f"cannot list {'/'.join(parts)}"):
            if kind is not FileKind.PACK:
                with opened_folder(self.root, parts) as folder:
                    yield from _files(folder)
                return
            with opened_folder(self.root, parts) as data:
                prefixes = sorted({*PREFIXES}.intersection(os.listdir(data)))
            for prefix in prefixes:
                with suppress(FileNotFoundError, NotADirectoryError), opened_folder(self.root, (*parts, prefix)) as fd:
                    yield from (info for info in _files(fd) if info.name.startswith(prefix))

    def stat(self, file: StoredFile) -> FileStatus:
        with told(f"cannot look at {file}"), opened_folder(self.root, self.parts(file)) as folder:
            status = os.stat(name_of(file), dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise MissingFileError(f"{file} is no regular file")
            return FileStatus(status.st_size, status.st_mtime)

    def open(self, file: StoredFile) -> Reading:
        with told(f"cannot read {file}"), opened_folder(self.root, self.parts(file)) as folder:
            descriptor = os.open(name_of(file), _READ_FLAGS, dir_fd=folder)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise MissingFileError(f"{file} is no regular file")
                self._cached.learn(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            return FileReading(descriptor, status.st_size)

    def open_cached(self, file: StoredFile) -> Reading | None:
        opened = self._cached.open("/".join((*self.parts(file), name_of(file))))
        return None if opened is None else FileReading(*opened)

    def begin(self, file: StoredFile, size_bytes: int | None) -> Upload:
        try:
            return Comparison(self.open(file), lambda: self._settle(file))
        except MissingFileError:
            return FolderUpload(self, file)

    def remove(self, file: StoredFile) -> Removal:
        size_bytes = self.stat(file).size_bytes
        with told(f"cannot remove {file}"), opened_folder(self.root, self.parts(file)) as folder:
            is_kept = self.discard(file, folder)
        return Removal(size_bytes, 0 if is_kept else size_bytes)

    def discard(self, file: StoredFile, folder: int) -> bool:
        """Take the file out of its folder, whose descriptor is given; whether it is kept elsewhere. OSError."""
        os.unlink(name_of(file), dir_fd=folder)
        sync_folder(folder)
        return False

    def sweep(self) -> int:
        return sum(self._sweep(folders) for folders in self._repositories())

    def parts(self, file: StoredFile) -> tuple[str, ...]:
        """The folders below the root that the file is in."""
        if file.kind is FileKind.CONFIG:
            return file.folders
        prefix = (file.name[:2],) if file.kind is FileKind.PACK else ()
        return (*file.folders, file.kind.value, *prefix)

    def _settle(self, file: StoredFile) -> None:
        """Make sure that a file which is there stays there: who stored it may not have come so far."""
        with told(f"cannot store {file}"), opened_folder(self.root, self.parts(file)) as folder:
            self.make_durable(folder)

    def make_durable(self, folder: int) -> None:
        """Have the names in the folder stay, and the folder: who made either may not have come so far."""
        sync_folder(folder)
        with self.making:
            pass

    def _make_all(self, above: int, names: tuple[str, ...]) -> None:
        for name in names:
            with suppress(FileExistsError):
                os.mkdir(name, self.folder_mode, dir_fd=above)
        sync_folder(above)

    def _repositories(self) -> Iterator[Folders]:
        """Every folder that could be a repository."""
        pending: list[Folders] = [()]
        while pending:
            folders = pending.pop()
            try:
                with opened_folder(self.root, folders) as folder:
                    names = os.listdir(folder)
            except OSError:  # a link, a file, or not ours to read
                continue
            if UPLOADS in names:
                yield folders
            if len(folders) < MOST_FOLDERS:
                pending += [(*folders, name) for name in names if name not in _KINDS and not name.startswith(".")]

    def _sweep(self, folders: Folders) -> int:
        count = 0
        with (
            told(f"cannot clean up after uploads in {'/'.join(folders) or '/'}"),
            opened_folder(self.root, (*folders, UPLOADS)) as uploads,
        ):
            for name in os.listdir(uploads):
                count += _remove_abandoned(name, uploads)
        return count


class FolderUpload(Upload):
    """A file in `.uploads`, on its way to its place. Made with its first byte: what is refused makes no folder."""

    def __init__(self, store: FolderStore, file: StoredFile) -> None:
        self._store = store
        self._file = file
        self._temporary = os.urandom(16).hex()
        self._descriptor = -1
        self._uploads = (*file.folders, UPLOADS)

    def write(self, data: memoryview) -> None:
        with _storing(self._file):
            self._open()
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])

    def commit(self) -> Outcome:
        with _storing(self._file):
            self._open()
            _sync_file(self._descriptor)
            return self._in_folders(self._place)

    def close(self) -> None:
        if self._descriptor < 0:
            return
        os.close(self._descriptor)
        self._descriptor = -1
        # Placed, or the folder is gone: nothing is left. What cannot be removed now goes at the next start.
        with suppress(OSError), opened_folder(self._store.root, self._uploads) as uploads:
            os.unlink(self._temporary, dir_fd=uploads)

    def _open(self) -> None:
        if self._descriptor < 0:
            self._descriptor = self._in_folders(self._open_new)

    def _open_new(self) -> int:
        while True:
            with opened_folder(self._store.root, self._uploads) as uploads:
                descriptor = os.open(self._temporary, _NEW_FLAGS, self._store.file_mode, dir_fd=uploads)
            if _hold(descriptor):
                return descriptor
            os.close(descriptor)

    def _place(self) -> Outcome:
        root, name = self._store.root, name_of(self._file)
        with (
            opened_folder(root, self._store.parts(self._file)) as folder,
            opened_folder(root, self._uploads) as uploads,
        ):
            while not self._give_name(name, uploads, folder):
                self._store.make_durable(folder)
                try:
                    with self._store.open(self._file) as stored, self._reading() as ours:
                        return Outcome.SAME if same_content(stored, ours) else Outcome.OTHER
                except MissingFileError:
                    if is_there(name, folder):  # It is no file. Otherwise it was removed a moment ago.
                        raise
            self._store.make_durable(folder)
            return Outcome.STORED

    def _give_name(self, name: str, uploads: int, folder: int) -> bool:
        """Give the file its name in one step, whichever processes want to; whether nobody had it."""
        try:
            os.link(self._temporary, name, src_dir_fd=uploads, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return True
        with self._store.placing:
            if is_there(name, folder):
                return False
            os.rename(self._temporary, name, src_dir_fd=uploads, dst_dir_fd=folder)
            return True

    def _reading(self) -> Reading:
        return FileReading(os.dup(self._descriptor), os.fstat(self._descriptor).st_size)

    def _in_folders(self, step: Callable[[], R]) -> R:
        """Do it, with the folders made that it misses; never the root: its disk may not be mounted."""
        try:
            return step()
        except FileNotFoundError:
            with self._store.making:
                for parts in (self._uploads, self._store.parts(self._file)):
                    make_folders(self._store.root, parts, self._store.folder_mode)
            return step()


class FileReading(Reading):
    """An open file; the descriptor is closed with it."""

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self.descriptor: int | None = descriptor
        self.size_bytes = size_bytes

    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        if self.descriptor is None:
            raise BackendError("the file is closed")
        with told("cannot read a file"):
            return os.preadv(self.descriptor, [buffer], offset_bytes)

    def read_cached(self, offset_bytes: int, buffer: memoryview) -> bool:
        return self.descriptor is not None and read_cached(self.descriptor, offset_bytes, buffer)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def name_of(file: StoredFile) -> str:
    """The file's name in its folder."""
    return file.name or file.kind.value


def is_there(name: str, folder: int) -> bool:
    """Whether there is anything of that name in the folder, whose descriptor is given."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn an OSError into one of the store's errors. Paths of the server are in none: clients may see the words."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        if error.errno in _MISSING:
            raise MissingFileError(f"{what}: {reason}") from error
        if error.errno in _FULL:
            raise NoSpaceError(f"{what}: {reason}") from error
        raise BackendError(f"{what}: {reason}") from error


@contextmanager
def _storing(file: StoredFile) -> Iterator[None]:
    """What is missing while a file is stored is no file that a client asked for: it is ours to mend."""
    try:
        with told(f"cannot store {file}"):
            yield
    except MissingFileError as error:
        raise BackendError(str(error)) from error


def _hold(descriptor: int) -> bool:
    """Mark the file as being written, so that a server which starts beside this one leaves it alone.

    Whether it is there: one that swept may have taken it before.
    """
    with suppress(OSError):  # not all file systems have locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return os.fstat(descriptor).st_nlink > 0


def _remove_abandoned(name: str, folder: int) -> bool:
    """Remove the file unless somebody writes it; whether it is gone. It is locked until then: nobody begins with it."""
    try:
        descriptor = os.open(name, _SWEEP_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return False
    try:
        if not _is_abandoned(descriptor):
            return False
        os.unlink(name, dir_fd=folder)
        return True
    finally:
        os.close(descriptor)


def _is_abandoned(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return os.fstat(descriptor).st_mtime < time.time() - _ABANDONED_S
    return True


def _files(folder: int) -> Iterator[FileInfo]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # removed meanwhile
                if is_hex_id(entry.name) and entry.is_file(follow_symlinks=False):
                    yield FileInfo(entry.name, entry.stat(follow_symlinks=False).st_size)


def _sync_file(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EINVAL}:  # where the file system knows no such thing
            raise
