"""`SlowReader`: an HTTP server that takes each body slowly, though never so slowly that it seems to stand still."""

from __future__ import annotations

import socket
import ssl
import threading

from tests.services.loopback import LoopbackServer

PIECES = 30


class SlowReader(LoopbackServer):
    """The body of each request takes `seconds`, and is answered with 200."""

    def __init__(self, seconds: float, tls: ssl.SSLContext | None = None) -> None:
        self._pause_s = seconds / PIECES
        self._tls = tls
        self._never = threading.Event()
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        stream = client if self._tls is None else self._tls.wrap_socket(client, server_side=True)
        with stream, stream.makefile("rb") as reader:
            left = 0
            while (line := reader.readline()).strip():
                name, _, value = line.partition(b":")
                left = int(value) if name.lower() == b"content-length" else left
            piece = max(left // PIECES, 1)
            while left and (taken := reader.read(min(piece, left))):
                left -= len(taken)
                self._never.wait(self._pause_s)
            if not left:
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
