"""HTTP byte by byte: what is sent is exactly what a test writes, and every byte that comes back is seen."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from tests.services.closing import Closing
from tests.services.rest_server import RestServer

TIMEOUT_S = 60.0
NO_BODY = {204, 304}

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a server; the names of headers are in lower case, `body` is without chunks' framing."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Wire(Closing):
    """One connection to a server."""

    def __init__(self, server: RestServer, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = connect(server, timeout_s)
        self._incoming: BinaryIO = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self.socket.sendall(data)

    def ask(self, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Answer:
        """The answer to one request, of which the length is told if it has a body."""
        self.send(request(method, target, headers, body))
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, without those that only say `Continue`; EOFError where the server ends the connection."""
        answer = self.any_answer(method)
        while answer.status == 100:
            answer = self.any_answer(method)
        return answer

    def any_answer(self, method: str = "GET") -> Answer:
        """The next answer, be it `Continue`."""
        words = self._line().split(b" ", 2)
        assert words[0] in {b"HTTP/1.1", b"HTTP/1.0"}, words
        status = int(words[1])
        headers = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return Answer(status, headers, self._body(method, status, headers))

    def answers_to(self, data: bytes) -> Sequence[Answer]:
        """All answers to these bytes, behind which nothing more is sent; the server may end before it has them all."""
        answers = []
        try:
            self.send(data)
            self.end()
            while True:
                answers.append(self.answer())
        except (EOFError, ConnectionError):
            return answers

    def end(self) -> None:
        """Say that nothing more will be sent; answers still come."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection as a crash of the client's machine does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def ended(self) -> bool:
        """Whether the server has ended the connection; waits for the next byte or the end."""
        try:
            return self._incoming.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Idempotent."""
        self._incoming.close()
        self.socket.close()

    def _line(self) -> bytes:
        line = self._incoming.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(line)
        return line[:-2]

    def _body(self, method: str, status: int, headers: Mapping[str, str]) -> bytes:
        if method == "HEAD" or status in NO_BODY or status < 200:
            return b""
        if headers.get("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        return self._incoming.read()

    def _chunks(self) -> Sequence[bytes]:
        chunks = []
        while size := int(self._line(), 16):
            chunks.append(self._exactly(size))
            self._line()
        while self._line():
            continue
        return chunks

    def _exactly(self, size: int) -> bytes:
        data = self._incoming.read(size)
        if len(data) != size:
            raise EOFError(f"{len(data)} of {size} bytes")
        return data


def connect(server: RestServer, timeout_s: float = TIMEOUT_S) -> socket.socket:
    """A connection to the server, on its port or its unix socket."""
    if server.port:
        return socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    connection.connect(str(server.socket_path))
    return connection


def request(method: str, target: str, headers: Headers = (), body: bytes | None = None) -> bytes:
    """The bytes of a request; `Host` and, with a body, `Content-Length` are given unless `headers` have them."""
    given = {name.lower() for name, _ in headers}
    added = [] if "host" in given else [("Host", "backup.example.org")]
    if body is not None and not given & {"content-length", "transfer-encoding"}:
        added.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in [*added, *headers]), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def chunked(*chunks: bytes) -> bytes:
    """A body in chunks, with its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def ask(server: RestServer, method: str, target: str, headers: Headers = (), body: bytes | None = None) -> Answer:
    """The answer to one request on a connection of its own."""
    with Wire(server) as wire:
        return wire.ask(method, target, headers, body)


class Connections(Closing):
    """One request after the other, on one connection for as long as the server keeps it."""

    def __init__(self, server: RestServer) -> None:
        self._server = server
        self._wire: Wire | None = None

    def ask(self, method: str, target: str, body: bytes | None = None, headers: Headers = ()) -> Answer:
        """The answer, on a new connection where the old one has ended; EOFError if there is none on that either."""
        try:
            return self._ask(method, target, body, headers)
        except (EOFError, ConnectionError):
            self.close()
        return self._ask(method, target, body, headers)

    def close(self) -> None:
        """Idempotent."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _ask(self, method: str, target: str, body: bytes | None, headers: Headers) -> Answer:
        self._wire = self._wire or Wire(self._server)
        answer = self._wire.ask(method, target, headers, body)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer
