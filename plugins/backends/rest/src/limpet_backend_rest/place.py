"""`Place`: what a location names, a repository on a REST server behind TCP, TLS or a unix socket."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from limpet.errors import UsageError

_FORM = "give one as in rest:https://host:8000/repository/ or rest:http+unix:///run/rest.sock:/repository/"
_SCHEMES = {"http": 80, "https": 443, "http+unix": 0, "https+unix": 0, "unix": 0}
LONGEST_SOCKET_PATH = 107
_SAFE = "%/:@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the server is, who asks, and which of its repositories is meant."""

    scheme: str
    """`http` or `https`, also over a unix socket."""
    host: str
    port: int
    socket_path: str | None
    path: str
    """As it goes into a request: percent-encoded, from the slash at its beginning on, without one at its end."""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Host and port as requests name them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port in {0, _SCHEMES[self.scheme]} else f"{host}:{self.port}"

    @property
    def server(self) -> str:
        """What is connected to, as messages name it."""
        if self.socket_path is not None:
            return self.socket_path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def location(self) -> str:
        """The full location without the password."""
        if self.socket_path is not None:
            return f"rest:{self.scheme}+unix://{self.socket_path}:{self.path}/"
        hidden = ":***" if self.password else ""
        user = f"{quote(self.user, safe='')}{hidden}@" if self.user or hidden else ""
        return f"rest:{self.scheme}://{user}{self.authority}{self.path}/"

    @property
    def authorization(self) -> str | None:
        """The value of the header that says who asks; None for nobody."""
        if not self.user and not self.password:
            return None
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode("utf-8", "surrogateescape")).decode()


def parse_place(text: str, user: str = "", password: str = "") -> Place:
    """The place that `text` (what follows `rest:`) names; `user` and `password` count where it has neither.

    UsageError, without the text, which may hold a password, where it cannot be understood.
    """
    scheme, separator, _ = text.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        raise UsageError(f"the location of a REST server begins with http://, https:// or http+unix://; {_FORM}")
    if re.search(r"[\0-\x1f\x7f]", text):
        raise UsageError(f"the location of a REST server holds a control character; {_FORM}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(
            f"the host or port of the REST server is not understood; {_FORM},"
            " and percent-encode what is special in a user name or password"
        ) from error
    if parts.query or parts.fragment:
        raise UsageError(f"the location of a REST server has neither '?' nor '#'; {_FORM}, and write them %3F and %23")
    scheme = parts.scheme.lower()
    if parts.username or parts.password is not None:
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme.endswith("unix"):
        socket_path, colon, path = parts.path.partition(":")
        if not socket_path or (parts.hostname or port):
            raise UsageError(f"the location names no unix socket; {_FORM}")
        http = "https" if scheme.startswith("https") else "http"
        return Place(
            http, "localhost", 0, _socket_path(unquote(socket_path)), _path(path if colon else ""), user, password
        )
    if not parts.hostname:
        raise UsageError(f"the location names no host; {_FORM}")
    return Place(scheme, _ascii(parts.hostname), port or _SCHEMES[scheme], None, _path(parts.path), user, password)


def _path(path: str) -> str:
    path = quote(path, safe=_SAFE).strip("/")
    return f"/{path}" if path else ""


def _socket_path(path: str) -> str:
    if "\0" in path or len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise UsageError(
            f"no unix socket can be at {path!r}: the path has more than {LONGEST_SOCKET_PATH} bytes or a NUL"
        )
    return path


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise UsageError(f"not the name of a host: {host!r}") from error
