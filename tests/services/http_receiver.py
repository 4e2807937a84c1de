"""`HttpReceiver`: an HTTP server on the loopback that keeps what it is sent, and can be slow, broken or silent."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class HttpReceiver:
    """Answers 200 unless `answers` holds others, which are given first, one each."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: deque[tuple[int, bytes]] = deque()
        self.body = b"OK"
        self.hangs = False
        """Whether requests are read and never answered."""
        self.drips = False
        """Whether answers come a byte at a time, and never end."""
        self._over = Event()

    @contextmanager
    def running(self, certificate: Path | None = None) -> Iterator[str]:
        """The address of the server, without a slash at its end; with TLS where it has a certificate."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                parts = urlsplit(self.path)
                headers = dict(self.headers)
                receiver.received.append(Received(self.command, parts.path, parse_qs(parts.query), headers, body))
                if receiver.hangs:
                    receiver._over.wait()
                    return
                status, text = receiver.answers.popleft() if receiver.answers else (200, receiver.body)
                self.send_response(status)
                self.send_header("Content-Length", "1000" if receiver.drips else str(len(text)))
                self.end_headers()
                while receiver.drips and not receiver._over.wait(0.1):
                    self.wfile.write(b".")
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  # the base class's names

            def log_message(self, *_arguments: object) -> None:
                return

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # The client went away, or does not like our certificate.
                    self.close_connection = True

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_arguments: object) -> None:
                return

        with Server(("127.0.0.1", 0), Handler) as server:
            scheme = "http"
            if certificate is not None:
                scheme = "https"
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            try:
                yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
            finally:
                self._over.set()
                server.shutdown()
