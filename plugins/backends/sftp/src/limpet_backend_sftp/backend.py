"""`SftpBackend`: restic's folder layout on a server that ssh reaches, each file written whole or not at all."""

from __future__ import annotations

import contextlib
import posixpath
import stat
import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, StorageFullError, UsageError
from limpet.ids import is_hex_id

from limpet_backend_sftp.connecting import Connection, connector
from limpet_backend_sftp.errors import refusal
from limpet_backend_sftp.files import RemoteFiles
from limpet_backend_sftp.layout import Layout, is_owned, is_temporary, temporary_path
from limpet_backend_sftp.location import ServerPath, parse_location
from limpet_backend_sftp.protocol import ProtocolError, Status, StatusError
from limpet_backend_sftp.reading import RangeError

CONNECTIONS = 5
LISTED_AT_ONCE = 32
"""Folders open at the same time in a listing; servers limit open files."""


class SftpBackend(Backend):
    """Files below one folder of a server, all requests over one connection, which is made when it is first needed."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("command", "the command that carries SFTP on its standard input and output, instead of ssh"),
        Option("args", "more arguments for ssh, quoted as in a shell"),
        Option("client", "ssh: the program; paramiko: without it; auto: ssh if there is one", default="auto"),
        Option("connections", "how many operations are under way at once", type="integer", default=CONNECTIONS),
    )

    def __init__(self, place: ServerPath, connection: Connection, *, connections: int = CONNECTIONS) -> None:
        self.place = place
        self.connection = connection
        self._connections = connections
        self._slots = threading.BoundedSemaphore(connections)
        self._layout = Layout(place.path)
        self._known_modes: tuple[int, int] | None = None

    @property
    def properties(self) -> BackendProperties:  # type: ignore[override]  # how saving replaces depends on the server
        return BackendProperties(connections=self._connections, atomic_replace=self.connection.replaces)

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `user@host:path` or `//user@host:port/path`; nothing is connected yet."""
        place = parse_location(location)
        connections = options.get("connections")
        if connections is None:
            connections = CONNECTIONS
        if not isinstance(connections, int) or connections < 1:
            raise UsageError(f"sftp.connections must be a number from 1 on, not {connections!r}")
        connect = connector(place, options, transport.stuck_request_timeout_s)
        return cls(place, Connection(connect), connections=connections)

    @property
    def location(self) -> str:
        return str(self.place)

    def __repr__(self) -> str:
        return f"SftpBackend({self.location!r})"

    def create(self) -> None:
        """Make the folder, those of each kind and the 256 of the packs; those that exist are left as they are."""
        root = self.place.path
        with self._files(f"cannot create the repository's folders in {self._shown(root)}") as files:
            mode = self._modes(files)[0]
            _make_with_parents(files, root, mode)
            files.make_folders([self._layout.folder(kind) for kind in FileKind if kind is not FileKind.CONFIG], mode)
            files.make_folders(self._layout.folders(FileKind.PACK), mode)

    def save(self, handle: Handle, content: Content) -> None:
        path = self._layout.path(handle)
        data = content.data.cast("B")
        what = f"cannot save {self._shown(path)}"
        with self._files(what) as files:
            # Its name is known before it is there: whatever happens, it can be removed.
            temporary = temporary_path(path)
            try:
                self._write_new(files, temporary, data)
                self._put_in_place(files, temporary, path)
            except BaseException as error:
                known = self._known_refusal(what, files, path, data.nbytes, error)
                self._discard(files, temporary)
                if known is not None:
                    raise known from error
                raise

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        path = self._layout.path(handle)
        if length_bytes is None:
            with self._files(f"cannot read {self._shown(path)}") as files:
                return files.read(path, offset_bytes)
        if length_bytes < 0:
            raise BackendError(f"cannot read {length_bytes} bytes of {self._shown(path)}", permanent=True)
        data = bytearray(length_bytes)
        self.load_into(handle, offset_bytes, memoryview(data))
        return bytes(data)

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        path = self._layout.path(handle)
        with self._files(f"cannot read {self._shown(path)}") as files:
            files.read_into(path, offset_bytes, buffer.cast("B"))

    def stat(self, handle: Handle) -> FileInfo:
        path = self._layout.path(handle)
        with self._files(f"stat {self._shown(path)}") as files:
            attributes = files.stat(path)
        if not attributes.is_file or attributes.size_bytes is None:
            raise BackendError(f"{self._shown(path)} is no regular file", permanent=True)
        return FileInfo(handle.name, attributes.size_bytes)

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        folders = self._layout.folders(kind)
        for start in range(0, len(folders), LISTED_AT_ONCE):
            with self._files(f"cannot list {self._shown(self._layout.folder(kind))}") as files:
                found = _sizes(files, folders[start : start + LISTED_AT_ONCE])
            for folder, sizes in found:
                prefix = posixpath.basename(folder) if kind is FileKind.PACK else ""
                for name, size in sizes.items():
                    if name.startswith(prefix):  # elsewhere it would be listed and yet not found
                        yield FileInfo(name, size)

    def remove(self, handle: Handle) -> None:
        path = self._layout.path(handle)
        with self._files(f"cannot remove {self._shown(path)}") as files:
            try:
                files.remove(path)
            except StatusError as error:
                if error.code != Status.PERMISSION_DENIED:
                    raise
                # Windows removes no read-only file.
                with contextlib.suppress(StatusError):
                    files.set_mode(path, 0o600)
                files.remove(path)

    def sweep(self) -> int:
        """Remove temporary files, ours and restic's; not those of locks, which others may be writing at any time."""
        folders = [*self._layout.folders(FileKind.PACK), self._layout.folder(FileKind.PACK)]
        folders += [self._layout.folder(kind) for kind in (FileKind.INDEX, FileKind.SNAPSHOT)]
        count = 0
        for start in range(0, len(folders), LISTED_AT_ONCE):
            with self._files(f"cannot remove temporary files in {self._shown(self.place.path)}") as files:
                some = folders[start : start + LISTED_AT_ONCE]
                left = [
                    posixpath.join(folder, name)
                    for folder, names in zip(some, files.list_folders(some), strict=True)
                    for name in names
                    if is_temporary(name)
                ]
                files.remove_all(left)
            count += len(left)
        return count

    def delete(self) -> None:
        """Remove every file of the repository, its temporary files and the folders left empty by that."""
        folders = [*self._layout.folders(FileKind.PACK), self._layout.folder(FileKind.PACK)]
        folders += [self._layout.folder(kind) for kind in FileKind if kind not in {FileKind.CONFIG, FileKind.PACK}]
        with self._files(f"cannot delete the repository in {self._shown(self.place.path)}") as files:
            for folder in [*folders, self.place.path]:
                (names,) = files.list_folders([folder])
                files.remove_all(posixpath.join(folder, name) for name in names if is_owned(name))
                if names.keys() - {".", ".."} <= {name for name in names if is_owned(name)}:
                    with contextlib.suppress(StatusError):  # it was not there, or something came in meanwhile
                        files.remove_folder(folder)

    def close(self) -> None:
        self.connection.close()

    @contextlib.contextmanager
    def _files(self, what: str) -> Iterator[RemoteFiles]:
        """The server's files, for one operation; errors are typed and say `what` failed."""
        with self._slots:
            session = self.connection.session()
            try:
                yield RemoteFiles(session)
            except StatusError as error:
                raise refusal(error, what) from error
            except RangeError as error:
                raise BackendError(f"{what}: {error}", permanent=True) from error
            except ProtocolError as error:
                session.give_up(BackendError(f"{session.place}: {error}"))
                raise BackendError(f"{what}: {error}") from error

    # -- saving

    def _write_new(self, files: RemoteFiles, path: str, data: memoryview) -> None:
        """The content in a new file; a folder that went missing is made, but never the repository's own."""
        mode = self._modes(files)[1]
        try:
            files.write_new(path, data, mode)
        except StatusError as error:
            if error.code != Status.NO_SUCH_FILE or not self._make_missing(files, posixpath.dirname(path)):
                raise
            files.write_new(path, data, mode)

    def _make_missing(self, files: RemoteFiles, folder: str) -> bool:
        """Make the folder below the root, and those between; False if that cannot be.

        The root is not made: a disk that is not mounted must not turn into a second, empty repository.
        """
        try:
            files.stat(self.place.path)
            between = []
            while folder != self.place.path:
                between.append(folder)
                folder = posixpath.dirname(folder)
            for path in reversed(between):
                files.make_folders([path], self._modes(files)[0])
        except StatusError:
            return False
        return bool(between)

    def _put_in_place(self, files: RemoteFiles, temporary: str, path: str) -> None:
        try:
            files.rename(temporary, path)
        except StatusError as error:
            if files.replaces:
                raise
            with contextlib.suppress(StatusError):
                files.stat(path)
                raise BackendError(
                    f"cannot save {self._shown(path)}: it exists, and this server replaces no files", permanent=True
                ) from error
            raise

    def _known_refusal(
        self, what: str, files: RemoteFiles, path: str, size_bytes: int, error: BaseException
    ) -> BackendError | None:
        """Why the server refused to save, where it says too little itself; None if that is not known."""
        if not isinstance(error, StatusError):
            return None
        if error.code == Status.NO_SUCH_FILE:
            return BackendError(f"{what}: the folder {self.place.path} is gone; is its disk mounted?", permanent=True)
        return _meaning_of_failure(what, files, posixpath.dirname(path), size_bytes, error)

    def _discard(self, files: RemoteFiles, temporary: str) -> None:
        """Remove what a save has left; over the next connection, if this one is gone."""
        with contextlib.suppress(StatusError):  # it was never there
            try:
                files.remove(temporary)
            except BackendError:
                self.connection.remove_later(temporary)

    def _modes(self, files: RemoteFiles) -> tuple[int, int]:
        """Modes of folders and files: closed to others, open to the group if the config is (restic's rule)."""
        if self._known_modes is None:
            try:
                mode = files.stat(self._layout.path(CONFIG_HANDLE)).mode or 0
            except StatusError:
                mode = 0
            self._known_modes = (0o770, 0o440) if mode & stat.S_IRGRP else (0o700, 0o400)
        return self._known_modes

    def _shown(self, path: str) -> str:
        return f"{path} on {self.place.host}"


def _make_with_parents(files: RemoteFiles, folder: str, mode: int) -> None:
    """Make the folder and those above that are missing."""
    try:
        files.make_folders([folder], mode)
    except StatusError as error:
        above = posixpath.dirname(folder)
        if error.code != Status.NO_SUCH_FILE or above in {"", folder}:
            raise
        _make_with_parents(files, above, mode)
        files.make_folders([folder], mode)


def _sizes(files: RemoteFiles, folders: Sequence[str]) -> list[tuple[str, dict[str, int]]]:
    """Of each folder its files whose names are ids, with their sizes."""
    found = []
    for folder, names in zip(folders, files.list_folders(folders), strict=True):
        sizes: dict[str, int] = {}
        for name, listed in names.items():
            if not is_hex_id(name):
                continue
            attributes = listed
            if attributes.mode is None or attributes.size_bytes is None:  # the protocol lets a server leave them out
                with contextlib.suppress(StatusError):  # removed meanwhile
                    attributes = files.stat(posixpath.join(folder, name))
            if attributes.is_file and attributes.size_bytes is not None:
                sizes[name] = attributes.size_bytes
        found.append((folder, sizes))
    return found


def _meaning_of_failure(
    what: str, files: RemoteFiles, folder: str, size_bytes: int, error: StatusError
) -> BackendError | None:
    """What lies behind a plain `failure`, which is all that SFTP says of a full disk; None if that is not known."""
    if error.code != Status.FAILURE:
        return None
    try:
        system = files.file_system(folder)
    except (StatusError, BackendError):
        return None
    if system is None:
        return None
    if system.is_read_only:
        return BackendError(f"{what}: read-only file system", permanent=True)
    if system.free_bytes < size_bytes or system.free_files == 0:
        return StorageFullError(f"{what}: no space left on device; free some space there and run again")
    return None
