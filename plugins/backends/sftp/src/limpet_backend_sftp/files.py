"""`RemoteFiles`: operations on a server's files, each with as few round trips as the protocol allows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from limpet.errors import BackendError

from limpet_backend_sftp.answers import encode_path, file_size
from limpet_backend_sftp.listing import FolderListing
from limpet_backend_sftp.protocol import (
    FSYNC,
    LENGTH,
    POSIX_RENAME,
    STATVFS,
    Attributes,
    FileSystem,
    Kind,
    OpenFlag,
    Status,
    StatusError,
    decode_file_system,
    encode_mode,
    encode_range,
    string,
)
from limpet_backend_sftp.reading import OpenedFile, RangeError
from limpet_backend_sftp.session import Answer, Exchange, Session, window_of


class RemoteFiles:
    """Paths are as the server understands them. StatusError for what it refuses, BackendError when it is gone."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def replaces(self) -> bool:
        """Whether `rename` puts a file in the place of another in one step."""
        return POSIX_RENAME in self.session.extensions

    def stat(self, path: str) -> Attributes:
        """Size and mode of what is there, through symbolic links."""
        return self.session.ask(Kind.STAT, encode_path(path)).expect(Kind.ATTRS).attributes()

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.session.ask(Kind.REMOVE, encode_path(path))

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        self.session.ask(Kind.RMDIR, encode_path(path))

    def set_mode(self, path: str, mode: int) -> None:
        """Change the permissions of a file or folder."""
        self.session.ask(Kind.SETSTAT, encode_path(path), encode_mode(mode))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name: over an existing file, or refused there, as `replaces` says."""
        if self.replaces:
            self.session.ask(Kind.EXTENDED, string(POSIX_RENAME), encode_path(old), encode_path(new))
        else:
            self.session.ask(Kind.RENAME, encode_path(old), encode_path(new))

    def file_system(self, path: str) -> FileSystem | None:
        """Of the folder; None where the server does not tell."""
        if STATVFS not in self.session.extensions:
            return None
        return decode_file_system(self.session.ask(Kind.EXTENDED, string(STATVFS), encode_path(path)).body)

    def write_new(self, path: str, data: memoryview, mode: int) -> None:
        """Make a file that was not there, write it, and have it on the disk where the server knows how to."""
        step = self.session.limits.write_bytes
        window = window_of(step)
        with Exchange(self.session) as exchange:
            flags = OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.EXCLUSIVE
            exchange.send(Kind.OPEN, encode_path(path), LENGTH.pack(flags), encode_mode(mode))
            handle = string(exchange.receive().expect(Kind.HANDLE).string())
            try:
                for offset in range(0, data.nbytes, step):
                    while exchange.outstanding >= window:
                        exchange.receive().raise_refusal()
                    piece = data[offset : offset + step]
                    exchange.send(Kind.WRITE, handle, encode_range(offset, piece.nbytes), piece)
            except BaseException:
                self._close(handle)
                raise
            self._finish(exchange, handle, data.nbytes, mode)

    def _finish(self, exchange: Exchange, handle: bytes, size_bytes: int, mode: int) -> None:
        """Mode, sync, size and close of a written file in one go, and every answer that is still to come."""
        chmod = exchange.send(Kind.FSETSTAT, handle, encode_mode(mode))  # the server's umask has changed that of OPEN
        sync = exchange.send(Kind.EXTENDED, string(FSYNC), handle) if FSYNC in self.session.extensions else None
        size = exchange.send(Kind.FSTAT, handle)
        exchange.send(Kind.CLOSE, handle)
        while exchange.outstanding:
            answer = exchange.receive()
            if answer.number == size:
                _check_size(answer, size_bytes)
            elif answer.number == sync:
                _check_synced(answer)
            elif answer.number != chmod:  # some file systems have no modes (restic issue 5595)
                answer.raise_refusal()

    def read(self, path: str, offset_bytes: int) -> bytes:
        """All of the file from the offset on; RangeError if it ends before."""
        with OpenedFile(self.session, path) as opened:
            size, start = opened.size_and_first(offset_bytes)
            if offset_bytes > size:
                raise RangeError(offset_bytes, None, size)
            if len(start) >= size - offset_bytes:
                return start[: size - offset_bytes]
            whole = bytearray(size - offset_bytes)
            whole[: len(start)] = start
            with memoryview(whole) as view, view[len(start) :] as rest:
                opened.fill(offset_bytes + len(start), rest)
        return bytes(whole)

    def read_into(self, path: str, offset_bytes: int, buffer: memoryview) -> None:
        """Fill the buffer from the offset on; RangeError if the file is shorter."""
        with OpenedFile(self.session, path) as opened:
            opened.fill(offset_bytes, buffer, check_size=True)

    def list_folders(self, folders: Sequence[str]) -> list[dict[str, Attributes]]:
        """What is in each of them, all read at once; nothing for one that is not there."""
        with Exchange(self.session) as exchange:
            listing = FolderListing(self.session, exchange, folders)
            try:
                listing.run()
            finally:
                listing.close()
        return listing.found

    def make_folders(self, folders: Iterable[str], mode: int) -> None:
        """Make them all at once; those that exist stay as they are. StatusError for the first that cannot be."""
        made, failed = [], []
        for folder, answer in self._ask_each(Kind.MKDIR, folders, encode_mode(mode)):
            try:
                answer.raise_refusal()
                made.append(folder)
            except StatusError as error:
                failed.append((folder, error))
        self._ask_each(Kind.SETSTAT, made, encode_mode(mode))  # against the server's umask; it may refuse
        refusals = dict(failed)
        for folder, answer in self._ask_each(Kind.STAT, refusals):
            if answer.kind != Kind.ATTRS or not answer.expect(Kind.ATTRS).attributes().is_folder:
                raise refusals[folder]

    def remove_all(self, paths: Iterable[str]) -> None:
        """Remove files, all at once; those that are gone already do not matter."""
        for _, answer in self._ask_each(Kind.REMOVE, paths):
            try:
                answer.raise_refusal()
            except StatusError as error:
                if error.code != Status.NO_SUCH_FILE:
                    raise

    def _ask_each(self, kind: Kind, paths: Iterable[str], rest: bytes = b"") -> list[tuple[str, Answer]]:
        answers = []
        with Exchange(self.session) as exchange:
            asked = {exchange.send(kind, encode_path(path), rest): path for path in paths}
            while exchange.outstanding:
                answer = exchange.receive()
                answers.append((asked[answer.number], answer))
        return answers

    def _close(self, handle: bytes) -> None:
        with contextlib.suppress(BackendError):
            self.session.post(Kind.CLOSE, handle)


def _check_size(answer: Answer, written_bytes: int) -> None:
    size = file_size(answer)
    if size != written_bytes:
        raise StatusError(Status.FAILURE, f"{written_bytes} bytes were written, the file has {size}")


def _check_synced(answer: Answer) -> None:
    """An error, unless it says that this file system cannot sync at all (restic issue 3720)."""
    try:
        answer.raise_refusal()
    except StatusError as error:
        if error.code not in {Status.OP_UNSUPPORTED, Status.BAD_MESSAGE}:
            raise
