"""`LoopbackServer`: a thread that accepts on a free loopback port, and one more for each connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from abc import abstractmethod

from tests.services.closing import Closing

PIECE_BYTES = 1 << 17
_RESET = struct.pack("ii", 1, 0)


def reset(connection: socket.socket) -> None:
    """Close so that the other end gets a reset, and no orderly end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)  # wakes a thread that waits in recv(), and sends nothing by itself
    connection.close()


def end(connection: socket.socket) -> None:
    """Close in good order, also where another thread waits in recv()."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class LoopbackServer(Closing):
    """Listens from the start until `close`.

    `accepted` counts connections, `open_now` those not yet ended, `most_open` the most of them at any time.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._accepted = 0
        self._sockets: dict[socket.socket, None] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._open = 0
        self._most_open = 0
        self._acceptor = threading.Thread(target=self._accept, name=f"{type(self).__name__} accepts", daemon=True)
        self._acceptor.start()

    @property
    def accepted(self) -> int:
        """How many TCP connections were accepted so far."""
        with self._lock:
            return self._accepted

    @property
    def open_now(self) -> int:
        """How many of them the client still holds open."""
        with self._lock:
            return self._open

    @property
    def most_open(self) -> int:
        """How many of them were open at the same time at most."""
        with self._lock:
            return self._most_open

    def close(self) -> None:
        """Stop listening, end every connection and wait for the threads. Idempotent."""
        self._closed.set()
        end(self._listener)
        self._acceptor.join()
        with self._lock:
            sockets = list(self._sockets)
        for connection in sockets:
            end(connection)
        for thread in self._threads:
            thread.join()

    @abstractmethod
    def serve(self, client: socket.socket) -> None:
        """Serve one connection until its end, in a thread of its own; OSError ends it quietly."""

    def connect(self, port: int) -> socket.socket:
        """A connection to this loopback port, ended with the server at the latest."""
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._hold(connection)
        return connection

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._accepted += 1
                self._open += 1
                self._most_open = max(self._most_open, self._open)
            self._hold(client)
            thread = threading.Thread(target=self._run, args=(client,), name=f"{type(self).__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, client: socket.socket) -> None:
        try:
            self.serve(client)
        except OSError:
            pass  # one of both ends is gone
        finally:
            self.let_go(client)
            with self._lock:
                self._open -= 1

    def let_go(self, connection: socket.socket) -> None:
        """End a connection that `serve` or `connect` had."""
        end(connection)
        with self._lock:
            self._sockets.pop(connection, None)

    def _hold(self, connection: socket.socket) -> None:
        with self._lock:
            self._sockets[connection] = None
        if self._closed.is_set():
            end(connection)
