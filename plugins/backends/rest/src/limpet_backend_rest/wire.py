"""HTTP/1.1 over one socket: requests out of a memoryview, bodies straight into a buffer.

Not a library's: a range of 1 KiB over the loopback takes urllib3 2.8 218 us of the processor, http.client 143, the
whole backend over this 60; 16 MiB take 3 ms in either direction, since no byte is copied on its way to the socket
or from it.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
from typing import BinaryIO, cast

LONGEST_LINE = 65536
MOST_HEADERS = 100
LONGEST_NUMBER = 15
"""Digits of a length: no file has a petabyte."""
JOINED_BYTES = 16 * 1024
"""A body up to here goes out in one piece with its head where the socket takes no two."""
PIECE_BYTES = 256 * 1024
"""So much has to go out within the time limit of the socket."""
MOST_DRAINED = 64 * 1024
"""A body that nobody wants is read to its end up to here, so that the connection can be used again."""


class ProtocolError(Exception):
    """What came was no HTTP/1.1, or ended before it was complete."""


class Connection:
    """One connection, for one request after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = cast("BinaryIO", sock.makefile("rb", buffering=64 * 1024))
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(sock, select.POLLIN)

    def is_idle(self) -> bool:
        """Whether it is open and silent: what can be read before a request is the end, or belongs to none."""
        if self._poll is not None:
            return not self._poll.poll(0)
        return not select.select([self._sock], [], [], 0)[0]

    def ask(self, head: bytes, body: memoryview | None = None) -> Answer:
        """Send the request and return the head of its answer, the body of which has to be read before the next.

        OSError and ProtocolError where the connection failed; it is of no use then.
        """
        try:
            self._send(head, body)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            # A server that refuses a body answers, and reads no more: the answer says why.
            with contextlib.suppress(OSError, ProtocolError):
                answer = Answer(self._reader, head, keep_alive=False)
                if answer.status >= 400:
                    return answer
            raise
        return Answer(self._reader, head)

    def close(self) -> None:
        """Close the socket. Idempotent."""
        with contextlib.suppress(OSError):
            self._reader.close()
        with contextlib.suppress(OSError):
            self._sock.close()

    def _send(self, head: bytes, body: memoryview | None) -> None:
        if body is None or not body.nbytes:
            self._send_all(memoryview(head))
        elif body.nbytes <= JOINED_BYTES:
            self._send_all(memoryview(b"".join((head, body))))
        elif isinstance(self._sock, ssl.SSLSocket) or not hasattr(self._sock, "sendmsg"):
            self._send_all(memoryview(head))
            self._send_all(body)
        else:
            sent = self._sock.sendmsg((head, body))
            if sent < len(head):
                self._send_all(memoryview(head)[sent:])
                sent = len(head)
            self._send_all(body[sent - len(head) :])

    def _send_all(self, data: memoryview) -> None:
        # Not `sendall`: its time limit is for all of the bytes, and a slow line is not a stuck one. In pieces, for
        # over TLS `send` takes all that it is given, in one time limit too.
        position = 0
        while position < data.nbytes:
            position += self._sock.send(data[position : position + PIECE_BYTES])


class Answer:
    """The head of an answer, and its body as far as nobody has read it."""

    def __init__(self, reader: BinaryIO, head: bytes, *, keep_alive: bool = True) -> None:
        self._reader = reader
        self.status, self.reason, self.headers = _read_head(reader)
        while 100 <= self.status < 200:  # "go on": not asked for, and allowed all the same
            self.status, self.reason, self.headers = _read_head(reader)
        self._keep_alive = keep_alive and self.headers.get("connection", "").lower() != "close"
        self._chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        self.length: int | None = None if self._chunked else self._stated_length()
        """How long the body is as the server says; of HEAD, how long it would be. None if it does not say."""
        self._complete = head.startswith(b"HEAD ") or self.status in {204, 304} or self.length == 0
        self.ends_with_connection = not self._complete and not self._chunked and self.length is None
        """Whether the body has no end of its own: a cut one is not to be told from a whole one."""
        if self.ends_with_connection:
            self._keep_alive = False

    def read(self) -> bytes:
        """The whole body; ProtocolError if it is cut."""
        if self._complete:
            return b""
        if self._chunked:
            data = self._read_chunks()
        elif self.length is None:
            data = self._reader.read()
        else:
            data = self._reader.read(self.length)
            self._check_count(len(data), self.length)
        self._complete = True
        return data

    def read_into(self, buffer: memoryview) -> None:
        """Fill the buffer with the body, whose stated length is its own; ProtocolError if it is cut."""
        assert self.length == buffer.nbytes
        if not self._complete:
            self._check_count(self._reader.readinto(buffer), buffer.nbytes)  # type: ignore[attr-defined]
            self._complete = True

    def drain(self) -> bool:
        """Read what is left of a body that nobody wants, unless it is long; whether the connection is free again."""
        try:
            self.beginning()
        except (OSError, ProtocolError):
            return False
        return self._complete and self._keep_alive

    def beginning(self) -> bytes:
        """The body, or nothing if it is long: that of an error is for people."""
        if self._complete or self._chunked or (self.length or 0) > MOST_DRAINED:
            return b""
        return self._reader.read(MOST_DRAINED) if self.length is None else self.read()

    def _stated_length(self) -> int | None:
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
            raise ProtocolError(f"the length of the answer is no number: {text[:50]!r}")
        return int(text)

    def _check_count(self, count: int, wanted: int) -> None:
        if count != wanted:
            raise ProtocolError(f"the answer ended after {count} of {wanted} bytes")

    def _read_chunks(self) -> bytes:
        pieces: list[bytes] = []
        while True:
            size = _chunk_size(_read_line(self._reader))
            if size == 0:
                while _read_line(self._reader):
                    pass  # headers after the body mean nothing here
                return b"".join(pieces)
            piece = self._reader.read(size)
            self._check_count(len(piece), size)
            pieces.append(piece)
            if _read_line(self._reader):
                raise ProtocolError("a chunk of the answer does not end where it should")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits) is None:
        raise ProtocolError(f"not the size of a chunk: {line[:50]!r}")
    return int(digits, 16)


def _read_head(reader: BinaryIO) -> tuple[int, str, dict[str, str]]:
    version, _, rest = _read_line(reader, first=True).partition(b" ")
    status, _, reason = rest.partition(b" ")
    if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise ProtocolError("the answer is no HTTP/1.1")
    headers: dict[str, str] = {}
    if version == b"HTTP/1.0":
        headers["connection"] = "close"
    for _ in range(MOST_HEADERS):
        line = _read_line(reader)
        if not line:
            return int(status), reason.decode("latin-1"), headers
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
    raise ProtocolError(f"the answer has more than {MOST_HEADERS} headers")


def _read_line(reader: BinaryIO, *, first: bool = False) -> bytes:
    """The line without its end."""
    line = reader.readline(LONGEST_LINE)
    if not line.endswith(b"\n"):
        if first and not line:
            raise ProtocolError("the server closed the connection without an answer")
        raise ProtocolError("the answer ended in its middle" if len(line) < LONGEST_LINE else "a line is too long")
    return line.rstrip(b"\r\n")
