"""`FixedAnswer`: a server that has one answer for every request, as a captive portal or a broken proxy has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class FixedAnswer:
    """What is answered; it may be changed while the server runs. `requests` are method, path and headers of each."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.body = body
        self.status = status
        self.status_of: dict[str, int] = {}
        """Of a method, where it is another."""
        self.headers = dict(headers or {})
        """Besides the length of the body, which is told unless `tells_length` is false."""
        self.tells_length = True
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address of the server, without a slash at its end."""
        fixed = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                fixed.requests.append((self.command, self.path, dict(self.headers)))
                self.send_response(fixed.status_of.get(self.command, fixed.status))
                for name, value in fixed.headers.items():
                    self.send_header(name, value)
                if fixed.tells_length:
                    self.send_header("Content-Length", str(len(fixed.body)))
                else:
                    self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(fixed.body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_CONNECT = answer  # noqa: N815  # the base class's names

            def log_message(self, *_arguments: object) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
