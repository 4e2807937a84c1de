"""An HTTP proxy that leads every CONNECT to one loopback port: a real client talks to a made-up host over TLS."""

from __future__ import annotations

import contextlib
import socket
import socketserver
from threading import Thread

from tests.services.closing import Closing


class ConnectProxy(Closing):
    """Runs until `close`; `asked` are the hosts and ports that clients wanted."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words = self.rfile.readline().decode("latin-1").split()
                if len(words) < 2 or words[0] != "CONNECT":
                    return
                while self.rfile.readline().strip():
                    pass
                proxy.asked.append(words[1])
                with socket.create_connection(("127.0.0.1", port)) as server:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = Thread(target=_pass_on, args=(server, self.connection), daemon=True)
                    back.start()
                    _pass_on(self.connection, server)
                    back.join()

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Everything from one to the other, and the end of it."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
