"""`OpenedFile`: reads a file on the server, many requests at once."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from limpet.errors import BackendError

from limpet_backend_sftp.answers import encode_path, file_size, is_status
from limpet_backend_sftp.protocol import LENGTH, Kind, OpenFlag, Status, encode_mode, encode_range, string
from limpet_backend_sftp.session import Exchange, Session, window_of


class RangeError(Exception):
    """The file has not the bytes that were asked for."""

    def __init__(self, offset_bytes: int, length_bytes: int | None, size_bytes: int | None) -> None:
        wanted = "those" if length_bytes is None else f"{length_bytes} bytes"
        has = "became shorter while it was read" if size_bytes is None else f"has {size_bytes}"
        super().__init__(f"{wanted} from {offset_bytes} on were asked for, it {has}")


class OpenedFile:
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
            exchange.send(Kind.OPEN, encode_path(self._path), LENGTH.pack(OpenFlag.READ), encode_mode(None))
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
                size = file_size(answer)
            elif not is_status(answer, Status.EOF):
                data = answer.expect(Kind.DATA).string()
        return size, data

    def fill(self, offset_bytes: int, buffer: memoryview, *, check_size: bool = False) -> None:
        """Fill the buffer from the offset on, many requests at once; with `check_size` the size is asked for too."""
        exchange, handle, step = self._exchange, self._handle, self._session.limits.read_bytes
        window = window_of(step)
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
                size = file_size(answer)
                if offset_bytes + length > size:
                    raise RangeError(offset_bytes, length, size)
                continue
            at, piece = asked.pop(answer.number)
            if is_status(answer, Status.EOF):
                raise RangeError(offset_bytes, length, None)
            if answer.kind != Kind.DATA:
                answer.expect(Kind.DATA)
            if answer.filled_bytes < piece.nbytes:  # a server may give less than was asked for
                ask(at + answer.filled_bytes, piece[answer.filled_bytes :])
