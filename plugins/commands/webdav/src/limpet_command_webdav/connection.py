"""Connections that take no thread before a whole head has come, and none for what nobody wants to read.

cheroot gives a connection to a thread as soon as it is there: so many half heads as there are threads would stop all.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from enum import Enum, auto

from cheroot.server import HTTPConnection, HTTPRequest

from limpet_command_webdav.fields import StrictFields

HEAD_LIMIT_BYTES = 64 * 1024
HEAD_LIMIT_S = 20.0
"""From the first byte of a head to its end."""
BODY_LIMIT_S = 10.0
"""For the whole of a body, which is small."""
SKIPPED_LIMIT_BYTES = 16 * 1024 * 1024
"""Of a body that nobody reads: behind a larger one the connection is not gone on with."""
FAREWELL_S = 5.0
"""How long what a client still sends is taken after the last answer: else the system would take that answer back."""
_PIECE_BYTES = 64 * 1024


class Arrival(Enum):
    """What is to be done with a connection."""

    WAIT = auto()
    ANSWER = auto()
    CLOSE = auto()


class Received:
    """What a client has sent: as a file for who reads it, but without waiting for who only looks."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._data = bytearray()
        self._to_skip = 0
        self.bytes_read = 0

    def __bool__(self) -> bool:
        return bool(self._data)

    @property
    def closed(self) -> bool:
        """Whether the connection is closed; cheroot's name."""
        return self._socket.fileno() < 0

    def take(self) -> bool:
        """Take what is there, without waiting; False if that is the end."""
        try:
            data = os.read(self._socket.fileno(), _PIECE_BYTES)  # not `recv`, which waits as long as the time limit
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._add(data)
        return bool(data)

    def has_data(self) -> bool:
        """Whether a whole head is there, or too much of one; cheroot's name. It refuses bare LF."""
        return len(self._data) > HEAD_LIMIT_BYTES or b"\r\n\r\n" in self._data or b"\n\n" in self._data

    def skip(self, size_bytes: int) -> None:
        """Drop the next bytes, as they come."""
        here = min(size_bytes, len(self._data))
        del self._data[:here]
        self._to_skip = size_bytes - here

    def readline(self, size: int = -1) -> bytes:
        """Up to the end of the line, or `size` bytes; of a whole head that is there."""
        end = self._data.find(b"\n") + 1 or len(self._data)
        return self._give(end if size < 0 else min(end, size))

    def read(self, size: int) -> bytes:
        """So many bytes, less at the end; TimeoutError if they do not come in time."""
        deadline = time.monotonic() + BODY_LIMIT_S
        usual_s = self._socket.gettimeout()
        try:
            while len(self._data) < size:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("timed out")  # cheroot knows it by this text
                self._socket.settimeout(left_s)
                data = self._socket.recv(_PIECE_BYTES)
                if not data:
                    break
                self._add(data)
        finally:
            self._socket.settimeout(usual_s)
        return self._give(size)

    def close(self) -> None:
        """Nothing is to be closed: the socket is the connection's."""

    def _add(self, data: bytes) -> None:
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        self._data += data[skipped:]

    def _give(self, size: int) -> bytes:
        data = bytes(self._data[:size])
        del self._data[:size]
        self.bytes_read += len(data)
        return data


class Sent:
    """What a client is sent, without the copies that cheroot's own makes of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.bytes_written = 0

    def write(self, data: bytes) -> None:
        """Send it; TimeoutError if the client does not take all of it in time."""
        self._socket.sendall(data)
        self.bytes_written += len(data)


class _Request(HTTPRequest):
    header_reader = StrictFields()

    def send_headers(self) -> None:
        """Go on behind a body that nobody has read, in cheroot's place: it would read it into memory, here and now."""
        unread = getattr(self.rfile, "remaining", 0)
        # Of chunks, which HTTP/1.0 does not know, and which may come with a length, nobody can say where they end.
        if b"Transfer-Encoding" in self.inheaders or unread > SKIPPED_LIMIT_BYTES:
            self.close_connection = True
        elif unread:
            self.conn.rfile.skip(unread)
            self.rfile.remaining = 0
        super().send_headers()


class Connection(HTTPConnection):
    """A connection between requests."""

    RequestHandlerClass = _Request

    def __init__(self, server: object, connection: socket.socket, _makefile: object = None) -> None:
        super().__init__(server, connection, _file)
        self._deadline = float("inf")
        self._has_ended = False

    def arrived(self) -> Arrival:
        """Take what has come of a request or behind the last one, without waiting."""
        goes_on = self.rfile.take()
        if self.rfile.has_data():
            self._deadline = float("inf")
            return Arrival.ANSWER
        if not goes_on or time.monotonic() > self._deadline:
            return Arrival.CLOSE
        if self.rfile and not self._has_ended:
            self._deadline = min(self._deadline, time.monotonic() + HEAD_LIMIT_S)
        return Arrival.WAIT

    def hang_up(self) -> None:
        """Let the server find it at its end."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        self.server.forget(self)
        super().close()

    def communicate(self) -> bool:
        """Answer a request; True if the connection stays, for a next one or to be taken leave of."""
        if super().communicate():  # type: ignore[no-untyped-call]
            return True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        self._has_ended = True
        self._deadline = time.monotonic() + FAREWELL_S
        self.rfile.skip(sys.maxsize)
        return True


def _file(connection: socket.socket, mode: str, _buffer_bytes: int) -> Received | Sent:
    return Received(connection) if "r" in mode else Sent(connection)
