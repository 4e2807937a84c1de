"""`LocalBackend`: restic's folder layout on a mounted file system, each file written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import ClassVar, Self

from limpet.contracts.backend import Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, StorageFullError, UsageError
from limpet.ids import is_hex_id

from limpet_backend_local import system

DATA_FOLDERS = tuple(f"{number:02x}" for number in range(256))
TEMPORARY_MARK = "-tmp-"
"""restic's own mark between a file's name and what makes its temporary name unique."""

_PERMANENT = {
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}
_PERMANENT_IN_READING = _PERMANENT | {errno.EIO}
"""A disk has tried a bad sector often enough by itself; a write that failed may find another place."""


class LocalBackend(Backend):
    """Files below one folder, laid out as restic's local backend does (packs in `data/xx/`)."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("connections", "how many files are read and written at once", type="integer", default=2),
    )

    def __init__(self, root: str, *, connections: int = 2) -> None:
        self.root = root
        self.properties = BackendProperties(connections=connections, atomic_replace=True)

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository in the folder `location`, relative to the current folder unless absolute."""
        if not location or "\0" in location:
            raise UsageError(f"not the path of a folder: {location!r}; give one as in local:/srv/backup")
        connections = options.get("connections")
        if connections is None:
            connections = 2
        if not isinstance(connections, int) or connections < 1:
            raise UsageError(f"local.connections must be a number from 1 on, not {connections!r}")
        return cls(os.path.abspath(location), connections=connections)

    @property
    def location(self) -> str:
        return f"local:{self.root}"

    def __repr__(self) -> str:
        return f"LocalBackend({self.root!r})"

    def create(self) -> None:
        """Make the folder, those of each kind and the 256 of the packs; those that exist are left as they are."""
        folder_mode = self._modes[0]
        try:
            os.makedirs(self.root, mode=folder_mode, exist_ok=True)
            for kind in FileKind:
                if kind is not FileKind.CONFIG:
                    self._make_folder(self._kind_folder(kind))
            for name in DATA_FOLDERS:
                self._make_folder(os.path.join(self._kind_folder(FileKind.PACK), name))
            for path in (self._kind_folder(FileKind.PACK), self.root, os.path.dirname(self.root)):
                with contextlib.suppress(PermissionError):  # a parent folder that we may pass but not read
                    system.sync_folder(path)
        except OSError as error:
            raise self._typed(error, f"cannot create the repository's folders in {self.root}") from error

    def save(self, handle: Handle, content: Content) -> None:
        path = self._path(handle)
        try:
            self._save(path, content)
        except OSError as error:
            raise self._typed(error, f"cannot save {path}", missing_is_a_folder=True) from error

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        path = self._path(handle)
        with self._opened(path) as descriptor:
            size = os.fstat(descriptor).st_size
            length = size - offset_bytes if length_bytes is None else length_bytes
            _check_range(path, offset_bytes, length, size)
            data = system.read_range(descriptor, offset_bytes, length)
        _check_complete(path, len(data), length)
        return data

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        path = self._path(handle)
        with self._opened(path) as descriptor:
            _check_range(path, offset_bytes, buffer.nbytes, os.fstat(descriptor).st_size)
            count = system.read_into(descriptor, offset_bytes, buffer.cast("B"))
        _check_complete(path, count, buffer.nbytes)

    def stat(self, handle: Handle) -> FileInfo:
        path = self._path(handle)
        try:
            status = os.stat(path)
        except OSError as error:
            raise self._typed(error, f"stat {path}") from error
        if not stat.S_ISREG(status.st_mode):
            raise BackendError(f"{path} is no regular file", permanent=True)
        return FileInfo(handle.name, status.st_size)

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        folder = self._kind_folder(kind)
        if kind is not FileKind.PACK:
            yield from self._list_folder(folder)
            return
        for prefix in DATA_FOLDERS:
            for info in self._list_folder(os.path.join(folder, prefix)):
                if info.name.startswith(prefix):  # elsewhere it would be listed and yet not found
                    yield info

    def remove(self, handle: Handle) -> None:
        path = self._path(handle)
        try:
            os.unlink(path)
        except OSError as error:
            raise self._typed(error, f"cannot remove {path}") from error

    def sweep(self) -> int:
        """Remove temporary files, ours and restic's; not those of locks, which others may be writing at any time."""
        try:
            data = self._kind_folder(FileKind.PACK)
            folders = [os.path.join(data, prefix) for prefix in DATA_FOLDERS]
            folders += [self._kind_folder(kind) for kind in (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)]
            return sum(_remove_temporary(folder) for folder in folders)
        except OSError as error:
            raise self._typed(error, f"cannot remove temporary files in {self.root}") from error

    def delete(self) -> None:
        """Remove every file of the repository, its temporary files and the folders left empty by that."""
        try:
            for kind in (FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK, FileKind.KEY):
                folder = self._kind_folder(kind)
                if kind is FileKind.PACK:
                    for prefix in DATA_FOLDERS:
                        _remove_owned(os.path.join(folder, prefix))
                _remove_owned(folder)
            _remove_owned(self.root)
        except OSError as error:
            raise self._typed(error, f"cannot delete the repository in {self.root}") from error

    def close(self) -> None:
        return

    @cached_property
    def _modes(self) -> tuple[int, int]:
        """Modes of folders and files: closed to others, open to the group if the config is (restic's rule)."""
        try:
            for_group = bool(os.stat(os.path.join(self.root, "config")).st_mode & stat.S_IRGRP)
        except OSError:
            for_group = False
        return (0o770, 0o440) if for_group else (0o700, 0o400)

    def _save(self, path: str, content: Content) -> None:
        while True:
            # Its name is known before it is there: Ctrl-C in between leaves nothing behind.
            temporary = f"{path}{TEMPORARY_MARK}{os.urandom(8).hex()}"
            try:
                self._write_new(temporary, content)
                os.replace(temporary, path)
                break
            except FileExistsError:
                continue
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        system.sync_folder(os.path.dirname(path))

    def _write_new(self, path: str, content: Content) -> None:
        """The content in a new file, durably; folders that went missing are made, but never the root."""
        while True:
            try:
                descriptor = system.open_new(path)
                break
            except FileNotFoundError:
                folder = os.path.dirname(path)
                if folder == self.root or not self._make_missing(folder):
                    raise
        try:
            system.write_all(descriptor, content.data.cast("B"))
            system.make_read_only(descriptor, self._modes[1])
            system.sync_file(descriptor)
        finally:
            os.close(descriptor)

    def _make_missing(self, folder: str) -> bool:
        """Make the folder below the root, and those between; False if it was there after all.

        The root is not made: a disk that is not mounted must not turn into a second, empty repository.
        """
        made = False
        above = os.path.dirname(folder)
        if above != self.root:
            made = self._make_missing(above)
        return self._make_folder(folder, durable=True) or made

    def _make_folder(self, path: str, *, durable: bool = False) -> bool:
        try:
            os.mkdir(path, self._modes[0])
        except FileExistsError:
            return False
        if durable:
            system.sync_folder(os.path.dirname(path))
        return True

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        try:
            descriptor = system.open_to_read(path)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._typed(error, f"cannot read {path}", permanent=_PERMANENT_IN_READING) from error

    def _list_folder(self, folder: str) -> Iterator[FileInfo]:
        found: dict[str, int] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not is_hex_id(entry.name):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        if entry.is_file():
                            found[entry.name] = entry.stat().st_size
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._typed(error, f"cannot list {folder}") from error
        for name, size in found.items():
            yield FileInfo(name, size)

    def _kind_folder(self, kind: FileKind) -> str:
        return os.path.join(self.root, kind.value)

    def _path(self, handle: Handle) -> str:
        name = handle.name
        if handle.kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return os.path.join(self.root, "config")
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        folder = self._kind_folder(handle.kind)
        return os.path.join(folder, name[:2], name) if handle.kind is FileKind.PACK else os.path.join(folder, name)

    def _typed(
        self,
        error: OSError,
        what: str,
        *,
        missing_is_a_folder: bool = False,
        permanent: Collection[int] = _PERMANENT,
    ) -> BackendError:
        reason = error.strerror or type(error).__name__
        if error.errno == errno.ENOENT:
            if missing_is_a_folder:
                return BackendError(f"{what}: the folder {self.root} is gone; is its disk mounted?", permanent=True)
            return MissingFileError(f"{what}: {reason.lower()}")  # as restic, in whose words scripts look for it
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return StorageFullError(f"{what}: {reason}; free some space there and run again")
        return BackendError(f"{what}: {reason}", permanent=error.errno in permanent)


def _check_range(path: str, offset_bytes: int, length_bytes: int, size_bytes: int) -> None:
    if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > size_bytes:
        raise BackendError(
            f"{path}: {length_bytes} bytes from {offset_bytes} on were asked for, it has {size_bytes}", permanent=True
        )


def _check_complete(path: str, count: int, wanted: int) -> None:
    if count != wanted:
        raise BackendError(f"{path} became shorter while it was read", permanent=True)


def _remove_temporary(folder: str) -> int:
    """Remove what broken-off saves left in the folder; how many files."""
    try:
        with os.scandir(folder) as entries:
            left = [entry.path for entry in entries if TEMPORARY_MARK in entry.name and _is_owned(entry.name)]
    except FileNotFoundError:
        return 0
    for path in left:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return len(left)


def _is_owned(name: str) -> bool:
    final = name.split(TEMPORARY_MARK, 1)[0]
    return final == "config" or is_hex_id(final)


def _remove_owned(folder: str) -> None:
    """Remove a repository's files in the folder, then the folder if nothing else is in it."""
    try:
        with os.scandir(folder) as entries:
            owned = [entry.path for entry in entries if _is_owned(entry.name) and not entry.is_dir()]
    except FileNotFoundError:
        return
    for path in owned:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY}:
            raise
