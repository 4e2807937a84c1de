"""`VersionOneProxy`: makes rest-server answer as servers did before version 2 of its API."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.services.loopback import PIECE_BYTES, LoopbackServer

V1, V2 = (b"application/vnd.x.restic.rest.v%d" % version for version in (1, 2))


class VersionOneProxy(LoopbackServer):
    """In front of the server at `target_port`, which is asked for version 1 whatever the client asks for."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        server = self.connect(self._target_port)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        try:
            _pump(client, server)
        finally:
            back.join()
            self.let_go(server)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):  # a head is sent in one piece
            target.sendall(piece.replace(V2, V1))
        target.shutdown(socket.SHUT_WR)
