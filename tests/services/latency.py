"""`LatencyProxy`: passes bytes on to a server, each some time later; the rate stays as it is.

Also a program of its own, for measurements that must not share an interpreter with it:
`python -m tests.services.latency TARGET_PORT ROUND_TRIP_MS` prints its port and serves until it is killed.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import socket
import sys
import threading
import time

from tests.services.loopback import PIECE_BYTES, LoopbackServer

AHEAD = 4096
"""Pieces that may be on their way in one direction: what a long line holds."""


class LatencyProxy(LoopbackServer):
    """In front of the server at `target_port`; a request and its answer take `round_trip_s` more than without."""

    def __init__(self, target_port: int, round_trip_s: float) -> None:
        self._target_port = target_port
        self._one_way_s = round_trip_s / 2
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        server = self.connect(self._target_port)
        back = threading.Thread(target=self._direction, args=(server, client), daemon=True)
        back.start()
        try:
            self._direction(client, server)
        finally:
            back.join()
            self.let_go(server)

    def _direction(self, source: socket.socket, target: socket.socket) -> None:
        """Read at once, so that the sender is not held up; write when the time has come."""
        line: queue.Queue[tuple[float, bytes]] = queue.Queue(AHEAD)
        writer = threading.Thread(target=self._write, args=(line, target), daemon=True)
        writer.start()
        piece = b"?"
        while piece:
            try:
                piece = source.recv(PIECE_BYTES)
            except OSError:
                piece = b""
            line.put((time.monotonic() + self._one_way_s, piece))
        writer.join()

    def _write(self, line: queue.Queue[tuple[float, bytes]], target: socket.socket) -> None:
        """Empty bytes are the end."""
        broken = False
        while True:
            due, piece = line.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not piece:
                    target.shutdown(socket.SHUT_WR)
                elif not broken:
                    target.sendall(piece)
            except OSError:
                broken = True  # what still comes is read and thrown away, so that its sender can end
            if not piece:
                return


def main() -> None:
    """Serve as the arguments say until killed."""
    with LatencyProxy(int(sys.argv[1]), float(sys.argv[2]) / 1000) as proxy, contextlib.suppress(KeyboardInterrupt):
        print(proxy.port, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
