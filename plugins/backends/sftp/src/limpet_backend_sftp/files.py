"""`RemoteFiles`: operations on a server's files, each with as few round trips as the protocol allows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from limpet.errors import BackendError

from limpet_backend_sftp.protocol import (
    FSYNC,
    LENGTH,
    POSIX_RENAME,
    STATVFS,
    Attributes,
    FileSystem,
    Kind,
    OpenFlag,
    ProtocolError,
    Status,
    StatusError,
    decode_file_system,
    decode_names,
    decode_status,
    encode_mode,
    encode_range,
    string,
)
from limpet_backend_sftp.session import Answer, Exchange, Session

WINDOW_BYTES = 4 * 1024 * 1024
"""Of one file under way at once, as in restic's client; ssh's own window is 2 MiB for all."""
READAHEAD = 2
"""Requests for the next entries of a folder: the second finds the end of a short one without another round trip."""


class RangeError(Exception):
    """The file has not the bytes that were asked for."""

    def __init__(self, offset_bytes: int, length_bytes: int | None, size_bytes: int | None) -> None:
        wanted = "those" if length_bytes is None else f"{length_bytes} bytes"
        has = "became shorter while it was read" if size_bytes is None else f"has {size_bytes}"
        super().__init__(f"{wanted} from {offset_bytes} on were asked for, it {has}")


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
        return self.session.ask(Kind.STAT, _path(path)).expect(Kind.ATTRS).attributes()

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.session.ask(Kind.REMOVE, _path(path))

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        self.session.ask(Kind.RMDIR, _path(path))

    def set_mode(self, path: str, mode: int) -> None:
        """Change the permissions of a file or folder."""
        self.session.ask(Kind.SETSTAT, _path(path), encode_mode(mode))

    def rename(self, old: str, new: str) -> None:
        """Give a file another name: over an existing file, or refused there, as `replaces` says."""
        if self.replaces:
            self.session.ask(Kind.EXTENDED, string(POSIX_RENAME), _path(old), _path(new))
        else:
            self.session.ask(Kind.RENAME, _path(old), _path(new))

    def file_system(self, path: str) -> FileSystem | None:
        """Of the folder; None where the server does not tell."""
        if STATVFS not in self.session.extensions:
            return None
        return decode_file_system(self.session.ask(Kind.EXTENDED, string(STATVFS), _path(path)).body)

    def write_new(self, path: str, data: memoryview, mode: int) -> None:
        """Make a file that was not there, write it, and have it on the disk where the server knows how to."""
        step = self.session.limits.write_bytes
        window = max(WINDOW_BYTES // step, 2)
        with Exchange(self.session) as exchange:
            flags = OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.EXCLUSIVE
            exchange.send(Kind.OPEN, _path(path), LENGTH.pack(flags), encode_mode(mode))
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
        with _Opened(self.session, path) as opened:
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
        with _Opened(self.session, path) as opened:
            opened.fill(offset_bytes, buffer, check_size=True)

    def list_folders(self, folders: Sequence[str]) -> list[dict[str, Attributes]]:
        """What is in each of them, all read at once; nothing for one that is not there."""
        with Exchange(self.session) as exchange:
            listing = _Listing(self.session, exchange, folders)
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
            asked = {exchange.send(kind, _path(path), rest): path for path in paths}
            while exchange.outstanding:
                answer = exchange.receive()
                answers.append((asked[answer.number], answer))
        return answers

    def _close(self, handle: bytes) -> None:
        with contextlib.suppress(BackendError):
            self.session.post(Kind.CLOSE, handle)


class _Opened:
    """A file open for reading; closed without waiting for the answer."""

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path
        self._exchange = Exchange(session)
        self._handle = b""

    def __enter__(self) -> Self:
        exchange = self._exchange
        with contextlib.ExitStack() as stack:
            stack.push(exchange)
            exchange.send(Kind.OPEN, _path(self._path), LENGTH.pack(OpenFlag.READ), encode_mode(None))
            self._handle = string(exchange.receive().expect(Kind.HANDLE).string())
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(BackendError):
            self._session.post(Kind.CLOSE, self._handle)
        self._exchange.__exit__(kind, error, trace)

    def size_and_first(self, offset_bytes: int) -> tuple[int, bytes]:
        """The file's size, and what one request brings from the offset on."""
        exchange = self._exchange
        wanted = encode_range(offset_bytes, self._session.limits.read_bytes)
        about_size = exchange.send(Kind.FSTAT, self._handle)
        exchange.send(Kind.READ, self._handle, wanted)
        size, data = 0, b""
        while exchange.outstanding:
            answer = exchange.receive()
            if answer.number == about_size:
                size = _size(answer)
            elif not _is_end(answer):
                data = answer.expect(Kind.DATA).string()
        return size, data

    def fill(self, offset_bytes: int, buffer: memoryview, *, check_size: bool = False) -> None:
        """Fill the buffer from the offset on, many requests at once; with `check_size` the size is asked for too."""
        exchange, handle, step = self._exchange, self._handle, self._session.limits.read_bytes
        window = max(WINDOW_BYTES // step, 2)
        length = buffer.nbytes
        about_size = exchange.send(Kind.FSTAT, handle) if check_size else None
        asked: dict[int, tuple[int, memoryview]] = {}

        def ask(position: int, piece: memoryview) -> None:
            wanted = encode_range(offset_bytes + position, piece.nbytes)
            asked[exchange.send(Kind.READ, handle, wanted, into=piece)] = (position, piece)

        position = 0
        while position < length or exchange.outstanding:
            while position < length and exchange.outstanding < window:
                ask(position, buffer[position : position + step])
                position += step
            answer = exchange.receive()
            if answer.number == about_size:
                size = _size(answer)
                if offset_bytes + length > size:
                    raise RangeError(offset_bytes, length, size)
                continue
            at, piece = asked.pop(answer.number)
            if _is_end(answer):
                raise RangeError(offset_bytes, length, None)
            if answer.kind != Kind.DATA:
                answer.expect(Kind.DATA)
            if answer.filled_bytes < piece.nbytes:  # a server may give less than was asked for
                ask(at + answer.filled_bytes, piece[answer.filled_bytes :])


class _Listing:
    """Folders being read at the same time."""

    def __init__(self, session: Session, exchange: Exchange, folders: Sequence[str]) -> None:
        self.found: list[dict[str, Attributes]] = [{} for _ in folders]
        self._session = session
        self._exchange = exchange
        self._opening = {exchange.send(Kind.OPENDIR, _path(folder)): index for index, folder in enumerate(folders)}
        self._reading: dict[int, int] = {}
        self._handles: dict[int, bytes] = {}

    def run(self) -> None:
        """Read all of them to their ends."""
        while self._exchange.outstanding:
            answer = self._exchange.receive()
            opened = self._opening.pop(answer.number, None)
            if opened is None:
                self._read(self._reading.pop(answer.number), answer)
            elif not _is_missing(answer):
                self._handles[opened] = string(answer.expect(Kind.HANDLE).string())
                for _ in range(READAHEAD):
                    self._ask(opened)

    def close(self) -> None:
        """Close the folders that are still open: all of them where something went wrong."""
        for handle in self._handles.values():
            with contextlib.suppress(BackendError):
                self._session.post(Kind.CLOSE, handle)
        self._handles.clear()

    def _read(self, index: int, answer: Answer) -> None:
        if _is_end(answer):
            handle = self._handles.pop(index, None)
            if handle is not None:
                self._session.post(Kind.CLOSE, handle)
            return
        if answer.kind != Kind.NAME:
            answer.expect(Kind.NAME)
        for name, attributes in decode_names(answer.body):
            self.found[index][name.decode("utf-8", "surrogateescape")] = attributes
        if index in self._handles:
            self._ask(index)

    def _ask(self, index: int) -> None:
        self._reading[self._exchange.send(Kind.READDIR, self._handles[index])] = index


def _path(path: str) -> bytes:
    return string(path.encode("utf-8", "surrogateescape"))


def _is_end(answer: Answer) -> bool:
    return _is_status(answer, Status.EOF)


def _is_missing(answer: Answer) -> bool:
    return _is_status(answer, Status.NO_SUCH_FILE)


def _is_status(answer: Answer, code: Status) -> bool:
    if answer.kind != Kind.STATUS:
        return False
    error = decode_status(answer.body)
    return error is not None and error.code == code


def _size(answer: Answer) -> int:
    size = answer.expect(Kind.ATTRS).attributes().size_bytes
    if size is None:
        raise ProtocolError("the server tells no size of an open file")
    return size


def _check_size(answer: Answer, written_bytes: int) -> None:
    size = _size(answer)
    if size != written_bytes:
        raise StatusError(Status.FAILURE, f"{written_bytes} bytes were written, the file has {size}")


def _check_synced(answer: Answer) -> None:
    """An error, unless it says that this file system cannot sync at all (restic issue 3720)."""
    try:
        answer.raise_refusal()
    except StatusError as error:
        if error.code not in {Status.OP_UNSUPPORTED, Status.BAD_MESSAGE}:
            raise
