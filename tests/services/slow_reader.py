"""`SlowReader`: an HTTP server that takes each body slowly, though never so slowly that it seems to stand still.

Only the first half is taken so, and few bytes are on their way at a time: a client that has sent its last byte gets
its answer soon, on a busy machine too. With a body of `BODY_BYTES` and a time limit of `LIMIT_S` the client is still
sending when the limit is over, and has all of that limit for each of its pieces.
"""

from __future__ import annotations

import socket
import ssl
import threading

from tests.services.loopback import LoopbackServer

BODY_BYTES = 12 << 20
"""Its half is more than the sender's system takes ahead of us."""
LIMIT_S = 5.0
_SLOW_S = 6.0
_PIECES = 30
_ON_THEIR_WAY_BYTES = 1 << 16


class SlowReader(LoopbackServer):
    """The body of each request takes longer than `LIMIT_S`, and is answered with 200."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._never = threading.Event()
        super().__init__()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ON_THEIR_WAY_BYTES)

    def serve(self, client: socket.socket) -> None:
        stream = client if self._tls is None else self._tls.wrap_socket(client, server_side=True)
        with stream, stream.makefile("rb") as reader:
            left = 0
            while (line := reader.readline()).strip():
                name, _, value = line.partition(b":")
                left = int(value) if name.lower() == b"content-length" else left
            slowly = left // 2
            piece = max(slowly // _PIECES, 1)
            while left and (taken := reader.read(min(piece, left))):
                left -= len(taken)
                if left > slowly:
                    self._never.wait(_SLOW_S / _PIECES)
            if not left:
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
