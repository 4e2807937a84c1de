"""Who may ask, and what for: in front of everything else, so that nobody else's request gets further than here."""

from __future__ import annotations

import base64
import binascii
import hmac
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from limpet_command_webdav.address import is_loopback

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
"""A WSGI application. Source: PEP 3333."""

METHODS = ("OPTIONS", "HEAD", "GET", "PROPFIND")
BODY_LIMIT_BYTES = 64 * 1024
"""Only PROPFIND has a body, and its list of properties is short."""
_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one user who may read."""

    user: str
    password: str = field(repr=False)

    def match(self, header: str) -> bool:
        """Whether an `Authorization` header gives them; takes as long for any wrong ones. Source: RFC 7617."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode("utf-8", "surrogateescape"))


class Guard:
    """A WSGI application around the one that it guards.

    Without credentials, on loopback, `Host` must name this machine: otherwise any web page that the user looks at
    could point its own name here and read the snapshots through his browser ("DNS rebinding").
    """

    def __init__(
        self,
        application: Application,
        *,
        credentials: Credentials | None,
        only_loopback_names: bool,
        warn: Callable[[str], None],
    ) -> None:
        self._application = application
        self._credentials = credentials
        self._only_loopback_names = only_loopback_names
        self._warn = warn

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request, or hand it on with its body in memory and the bytes of its path as they came."""
        if environ.get("wsgi.input_terminated"):
            # cheroot would hold a chunk in memory, of whatever size it says it is. Under this status it closes.
            return answer(environ, start_response, "413 Request Entity Too Large", "a body's length must come first")
        body = _read_body(environ)
        if self._credentials is not None and not self._credentials.match(environ.get("HTTP_AUTHORIZATION", "")):
            if "HTTP_AUTHORIZATION" in environ:
                self._warn(f"wrong user or password from {environ.get('REMOTE_ADDR')}")
            sign_in = ("WWW-Authenticate", 'Basic realm="limpet", charset="UTF-8"')
            return answer(environ, start_response, "401 Unauthorized", "a user and a password are needed", [sign_in])
        if self._only_loopback_names and not is_loopback(_host(environ)):
            return answer(environ, start_response, "403 Forbidden", "this view is for its own machine: use localhost")
        if environ["REQUEST_METHOD"] not in METHODS:
            allow = ("Allow", ", ".join(METHODS))
            return answer(environ, start_response, "405 Method Not Allowed", "snapshots can only be read", [allow])
        if body is None:
            return answer(environ, start_response, "413 Request Entity Too Large", "the body is too large")
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        # WSGI hands a path's bytes over as characters of Latin-1; those that are no UTF-8 are kept as os.fsdecode does.
        environ["PATH_INFO"] = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
        return self._application(environ, start_response)


def answer(
    environ: Environ, start_response: StartResponse, status: str, text: str, headers: Iterable[tuple[str, str]] = ()
) -> Iterable[bytes]:
    """A line of text under a status."""
    content = f"{text}\n".encode("utf-8", "backslashreplace")
    plain = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content)))]
    start_response(status, [*plain, *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]


def _host(environ: Environ) -> str:
    """The name that the client knows us by, without the port. Only clients older than HTTP/1.1 give none."""
    given: str = environ.get("HTTP_HOST", "localhost")
    if given.startswith("["):
        return given[1:].partition("]")[0]
    return given.partition(":")[0]


def _read_body(environ: Environ) -> bytes | None:
    """The whole body; None if it is too large. All of it is taken: a connection goes on only behind it."""
    pieces: list[bytes] = []
    size_bytes = 0
    while piece := environ["wsgi.input"].read(_PIECE_BYTES):
        size_bytes += len(piece)
        if size_bytes <= BODY_LIMIT_BYTES:
            pieces.append(piece)
    return b"".join(pieces) if size_bytes <= BODY_LIMIT_BYTES else None
