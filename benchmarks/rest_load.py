"""Bodies uploaded to a server of restic's REST protocol and downloaded again, over plain sockets: the server alone.

The client does next to nothing: bodies are made and hashed before the clock starts, what comes back is thrown away.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
BODY_BYTES = 16 * MIB
HEAD_BYTES = 8
"""Bodies differ in their first bytes alone, so that one buffer serves all."""
REPOSITORY = "/load"


@dataclass(frozen=True, slots=True)
class Body:
    """One file to upload: its first bytes, and the id of the whole."""

    head: bytes
    name: str


class Load:
    """A number of bodies, shared out over the connections."""

    def __init__(self, count: int, body_bytes: int = BODY_BYTES) -> None:
        self._rest = os.urandom(body_bytes - HEAD_BYTES)
        self.size_bytes = count * body_bytes
        self._bodies = [self._body() for _ in range(count)]

    def upload(self, port: int, connections: int) -> float:
        """Seconds for all bodies; OSError where the server refuses one."""
        with _connected(port) as connection:
            _ask(connection, f"POST {REPOSITORY}/?create=true", b"")

        def work(connection: socket.socket, bodies: Sequence[Body]) -> None:
            for body in bodies:
                _ask(connection, f"POST {REPOSITORY}/data/{body.name}", body.head, self._rest)

        return self._timed(port, connections, work)

    def store(self, folder: Path) -> None:
        """Put the bodies where a server keeps them."""
        data = folder / REPOSITORY.strip("/") / "data"
        for body in self._bodies:
            file = data / body.name[:2] / body.name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body.head + self._rest)

    def download(self, port: int, connections: int) -> float:
        """Seconds for all bodies."""

        def work(connection: socket.socket, bodies: Sequence[Body]) -> None:
            buffer = bytearray(MIB)
            for body in bodies:
                _ask(connection, f"GET {REPOSITORY}/data/{body.name}", into=buffer)

        return self._timed(port, connections, work)

    def _timed(self, port: int, connections: int, work: Callable[[socket.socket, Sequence[Body]], None]) -> float:
        open_connections = [_connected(port) for _ in range(connections)]
        shares = [self._bodies[number::connections] for number in range(connections)]
        try:
            with ThreadPoolExecutor(connections) as threads:
                started = time.monotonic()
                list(threads.map(work, open_connections, shares))
                return time.monotonic() - started
        finally:
            for connection in open_connections:
                connection.close()

    def _body(self) -> Body:
        head = os.urandom(HEAD_BYTES)
        hashed = hashlib.sha256(head)
        hashed.update(self._rest)
        return Body(head, hashed.hexdigest())


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: socket.socket, request: str, *body: bytes, into: bytearray | None = None) -> None:
    """Send the request and read its answer to the end; OSError for anything but a success."""
    length = f"Content-Length: {sum(map(len, body))}\r\n" if body else ""
    head = f"{request} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n".encode()
    connection.sendall(head + body[0] if body else head)
    for part in body[1:]:
        connection.sendall(part)
    received = bytearray()
    while b"\r\n\r\n" not in received:
        received += _some(connection.recv(4096))
    fields, _, start = bytes(received).partition(b"\r\n\r\n")
    status, *lines = fields.decode().split("\r\n")
    if status.split()[1] != "200":
        raise OSError(f"{request}: {status}")
    left = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")) - len(start)
    buffer = into or bytearray(4096)
    while left > 0:
        size = connection.recv_into(buffer, min(left, len(buffer)))
        if not size:
            raise OSError(f"{request}: the answer was cut")
        left -= size


def _some(data: bytes) -> bytes:
    if not data:
        raise OSError("the server closed the connection")
    return data
