"""`Proxy`: the way to a server that HTTP_PROXY, HTTPS_PROXY and NO_PROXY tell of, by the rules of Go's programs."""

from __future__ import annotations

import contextlib
import os
import socket
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from limpet.errors import BackendError, UsageError

from limpet_backend_rest.place import Place
from limpet_backend_rest.wire import Answer


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, and what proves that we may use it."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> str:
        """Those that are for the proxy, each ended by CR LF."""
        return "" if self.authorization is None else f"Proxy-Authorization: {self.authorization}\r\n"

    def lead(self, sock: socket.socket, place: Place) -> None:
        """Have the proxy lead this connection on to the server; BackendError if it refuses."""
        target = place.server
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{self.headers}\r\n".encode("ascii")
        sock.sendall(head)
        with sock.makefile("rb", buffering=0) as unbuffered:  # what follows the head is TLS's
            status = Answer(cast("BinaryIO", unbuffered), b"CONNECT").status
        if status == 200:
            return
        said = "wants a user name and password: http://user:password@host" if status == 407 else f"answered {status}"
        raise BackendError(
            f"the proxy {self.host}:{self.port} does not lead to {target}: it {said}", permanent=status < 500
        )


def proxy_for(place: Place, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy to take to the place; None for none. UsageError for one that is not understood."""
    environ = os.environ if environ is None else environ
    variable = f"{place.scheme}_proxy"
    text = environ.get(variable.upper()) or environ.get(variable)
    if not text or place.socket_path is not None or _is_loopback(place.host):
        return None
    if _is_excepted(place, environ.get("NO_PROXY") or environ.get("no_proxy") or ""):
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if host is None or parts.scheme != "http":
        raise UsageError(f"{variable.upper()} names no HTTP proxy: give one as in http://host:3128")
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    authorization = None if login == ":" else "Basic " + b64encode(login.encode()).decode()
    return Proxy(host, port, authorization)


def _is_loopback(host: str) -> bool:
    import ipaddress  # noqa: PLC0415  # only where there is a proxy

    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _is_excepted(place: Place, no_proxy: str) -> bool:
    for entry in no_proxy.replace(" ", ",").split(","):
        if entry == "*":
            return True
        name, _, port = entry.lower().rpartition(":") if entry.count(":") == 1 else (entry.lower(), "", "")
        if name and (not port or port == str(place.port)) and _covers(name, place.host.lower()):
            return True
    return False


def _covers(name: str, host: str) -> bool:
    import ipaddress  # noqa: PLC0415

    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    domain = name.removeprefix("*").removeprefix(".")
    return host.endswith(f".{domain}") or (host == domain and domain == name)
