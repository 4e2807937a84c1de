"""One connection's bytes, plain or TLS: never blocks, and says what to wait for instead.

The event loop waits; worker threads move the bytes, straight between the socket and their own buffer or a file.
"""

from __future__ import annotations

import errno
import os
import socket
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import ssl


_OF_FILES = {errno.EINVAL, errno.EIO, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
"""How sendfile(2) fails for the file, not the socket. It is read instead: what is wrong with it is told then."""


class Ready(Enum):
    """What a socket has to be before it makes sense to go on."""

    TO_READ = "to read"
    TO_WRITE = "to write"


class WouldBlock(Exception):  # noqa: N818  # no failure
    """Nothing moves before the socket is ready again."""

    def __init__(self, wanted: Ready) -> None:
        super().__init__(wanted.value)
        self.wanted = wanted


class Channel(Protocol):
    """A socket that does not block. One thread at a time uses it. OSError where the connection is broken."""

    descriptor: int
    reads_ahead: bool
    """Whether it may hold bytes that have come and that the socket no longer tells of."""

    def receive(self, buffer: memoryview) -> int:
        """Bytes that have come; 0 at the end of the stream. WouldBlock where nothing is there."""

    def receive_bytes(self, most: int) -> bytes:
        """Likewise, not more than so many; empty at the end of the stream."""

    def send(self, data: memoryview | bytes, *, more: bool = False) -> int:
        """How many of the bytes were taken; `more` says that others follow at once. WouldBlock where none was."""

    def send_file(self, descriptor: int, offset_bytes: int, size_bytes: int) -> int | None:
        """How many bytes of the file were taken, 0 where it ends; None if that cannot be, see `send`."""

    def shake_hands(self) -> None:
        """Agree on keys, if the channel has any. WouldBlock until that is done."""

    def end_sending(self) -> None:
        """Say that nothing more comes from here."""

    def close(self) -> None:
        """Idempotent."""


class PlainChannel:
    """A TCP or unix socket as it is."""

    reads_ahead = False

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.descriptor = connection.fileno()

    def receive(self, buffer: memoryview) -> int:
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            raise WouldBlock(Ready.TO_READ) from None

    def receive_bytes(self, most: int) -> bytes:
        try:
            return self._socket.recv(most)
        except BlockingIOError:
            raise WouldBlock(Ready.TO_READ) from None

    def send(self, data: memoryview | bytes, *, more: bool = False) -> int:
        try:
            return self._socket.send(data, socket.MSG_MORE if more else 0)
        except BlockingIOError:
            raise WouldBlock(Ready.TO_WRITE) from None

    def send_file(self, descriptor: int, offset_bytes: int, size_bytes: int) -> int | None:
        try:
            return os.sendfile(self.descriptor, descriptor, offset_bytes, size_bytes)
        except BlockingIOError:
            raise WouldBlock(Ready.TO_WRITE) from None
        except OSError as error:
            if error.errno in _OF_FILES:
                return None
            raise

    def shake_hands(self) -> None:
        return

    def end_sending(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()


class TlsChannel:
    """A socket behind TLS."""

    reads_ahead = True

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._tls = context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        import ssl  # noqa: PLC0415  # not without TLS: 4 MB of memory

        self._want_read, self._want_write = ssl.SSLWantReadError, ssl.SSLWantWriteError
        self.descriptor = self._tls.fileno()

    def receive(self, buffer: memoryview) -> int:
        try:
            return self._tls.recv_into(buffer)
        except (self._want_read, BlockingIOError):  # the latter behind `end_sending`, which ends TLS
            raise WouldBlock(Ready.TO_READ) from None
        except self._want_write:
            raise WouldBlock(Ready.TO_WRITE) from None

    def receive_bytes(self, most: int) -> bytes:
        buffer = memoryview(bytearray(most))
        return bytes(buffer[: self.receive(buffer)])

    def send(self, data: memoryview | bytes, *, more: bool = False) -> int:
        try:
            return self._tls.send(data)
        except self._want_read:
            raise WouldBlock(Ready.TO_READ) from None
        except self._want_write:
            raise WouldBlock(Ready.TO_WRITE) from None

    def send_file(self, descriptor: int, offset_bytes: int, size_bytes: int) -> int | None:
        return None

    def shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except self._want_read:
            raise WouldBlock(Ready.TO_READ) from None
        except self._want_write:
            raise WouldBlock(Ready.TO_WRITE) from None

    def end_sending(self) -> None:
        self._tls.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._tls.close()
