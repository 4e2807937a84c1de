"""REST servers behind HTTP proxies: who leads there, who is asked directly."""

from __future__ import annotations

import base64
import socket
import threading
from pathlib import Path

import pytest
from limpet.contracts.backend import FileKind
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, UsageError
from limpet.testing.backend import save_all
from limpet.testing.certificates import identity
from limpet_backend_rest import RestBackend
from limpet_backend_rest.place import parse_place
from limpet_backend_rest.proxy import proxy_for

from tests.services.folder_conformance import path_below
from tests.services.loopback import PIECE_BYTES, LoopbackServer
from tests.services.rest_server import RestServer, certificate_bundle

HOST = "backup.example"
LOGIN = "Basic " + base64.b64encode(b"me:my word").decode()


class HttpProxy(LoopbackServer):
    """A proxy that knows one server, whatever its name, and one user."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.first_lines: list[str] = []
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1 if head.startswith(b"CONNECT") else PIECE_BYTES)
        self.first_lines.append(head.decode("latin-1").splitlines()[0])
        if f"Proxy-Authorization: {LOGIN}".encode() not in head:
            client.sendall(b"HTTP/1.1 407 Who Are You\r\nContent-Length: 0\r\n\r\n")
            return
        server = self.connect(self._target_port)
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        if head.startswith(b"CONNECT"):
            client.sendall(b"HTTP/1.1 200 Go On\r\n\r\n")
        else:
            server.sendall(head)  # Go's servers take a whole URL as well
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """In many offices there is no other way out."""
    own = identity("server", HOST)
    server = RestServer(tmp_path, identity=own if scheme == "https" else None)
    proxy = HttpProxy(server.port)
    transport = Transport(root_certificates=(certificate_bundle(tmp_path, own),))
    location = f"{scheme}://{HOST}:8000/repository/"
    try:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:my%20word@127.0.0.1:{proxy.port}")
        backend = RestBackend.open(location, {}, transport)
        backend.create()
        (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
        assert backend.load(handle) == b"a pack"
        assert path_below(server.data / "repository", handle).read_bytes() == b"a pack"
        expected = f"CONNECT {HOST}:8000" if scheme == "https" else f"POST http://{HOST}:8000/repository/?create=true"
        assert proxy.first_lines == [f"{expected} HTTP/1.1"]
        backend.close()
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(BackendError, match=r"proxy .*user name and password") as caught:
            RestBackend.open(location, {}, transport).create()
        assert caught.value.permanent
        proxy.close()
        with pytest.raises(BackendError, match=f"proxy 127.0.0.1:{proxy.port}: connection refused"):
            RestBackend.open(location, {}, transport).create()
    finally:
        proxy.close()
        server.close()


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_used"),
    [
        ("http://backup.example/", "", True),
        ("http://127.0.0.1/", "", False),
        ("http://localhost:8000/", "", False),
        ("http://[::1]/", "", False),
        ("http+unix:///tmp/s:/", "", False),
        ("https://backup.example/", "", False),
        ("http://backup.example/", "*", False),
        ("http://backup.example/", "other.example, backup.example", False),
        ("http://backup.example/", "example", False),
        ("http://backup.example/", ".example", False),
        ("http://backup.example/", "*.example", False),
        ("http://example/", ".example", True),
        ("http://notexample/", "example", True),
        ("http://backup.example:8000/", "backup.example:8000", False),
        ("http://backup.example:8000/", "backup.example:80", True),
        ("http://10.1.2.3/", "10.0.0.0/8", False),
        ("http://10.1.2.3/", "10.1.2.3", False),
        ("http://11.1.2.3/", "10.0.0.0/8", True),
    ],
)
def test_who_is_asked_directly(url: str, no_proxy: str, is_used: bool) -> None:
    """restic's rules, which are Go's: else one of the two programs gets through and the other does not."""
    environ = {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": no_proxy}
    assert (proxy_for(parse_place(url), environ) is not None) == is_used


def test_small_letters_do_as_well() -> None:
    """Most programs read them."""
    proxy = proxy_for(parse_place("https://backup.example/"), {"https_proxy": "proxy:3128"})
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.authorization) == ("proxy", 3128, None)


@pytest.mark.parametrize("text", ["socks5://secret@host", "http://secret@host:port", "http://"])
def test_proxies_that_are_none(text: str) -> None:
    """To pass the proxy by unasked would be worse than to stop."""
    with pytest.raises(UsageError, match="HTTP_PROXY names no HTTP proxy") as caught:
        proxy_for(parse_place("http://backup.example/"), {"HTTP_PROXY": text})
    assert "secret" not in str(caught.value)
