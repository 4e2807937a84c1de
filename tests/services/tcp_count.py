"""`CountingProxy`: passes bytes on to a server and counts the TCP connections that it accepts."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.services.loopback import PIECE_BYTES, LoopbackServer, reset


class CountingProxy(LoopbackServer):
    """In front of the server at `target_port`; `accepted` and `open_now` are the figures."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        server = self.connect(self._target_port)
        back = threading.Thread(target=self._pump, args=(server, client), name=type(self).__name__, daemon=True)
        back.start()
        try:
            self._pump(client, server)
        finally:
            back.join()
            self.let_go(server)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on until `source` ends, then tell `target` so."""
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                self.passing(len(piece))
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
            return
        for connection in (source, target):
            reset(connection)

    def passing(self, size_bytes: int) -> None:
        """Called before these bytes of either direction are passed on; an OSError breaks the connection."""


class CuttingProxy(CountingProxy):
    """Breaks connections: each time that `cut_after_bytes` have passed, the one they passed on; `times` times.

    Without `times` the line stays cut after the first: connections are accepted and broken at once.
    """

    def __init__(self, target_port: int, *, cut_after_bytes: int, times: int | None) -> None:
        self._cut_after_bytes = cut_after_bytes
        self._left_bytes = cut_after_bytes
        self._times = times
        self.cuts = 0
        super().__init__(target_port)

    def passing(self, size_bytes: int) -> None:
        with self._lock:
            self._left_bytes -= size_bytes
            if self._left_bytes > 0 or (self._times is not None and self.cuts >= self._times):
                return
            self._left_bytes = 0 if self._times is None else self._cut_after_bytes
            self.cuts += 1
        raise ConnectionResetError("cut on purpose")
