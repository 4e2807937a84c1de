"""Who may ask, and what for: in front of everything else, so that nobody else's request gets further than here."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from typing import Any

from limpet.contracts.guesses import TooManyAttempts

from limpet_command_webdav.address import is_loopback
from limpet_command_webdav.sign_in import Credentials, SignIn

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
"""A WSGI application. Source: PEP 3333."""

Headers = Iterable[tuple[str, str]]
Refusal = tuple[str, str, Headers]
"""Status, text and headers of an answer that ends it."""

METHODS = ("OPTIONS", "HEAD", "GET", "PROPFIND")
BODY_LIMIT_BYTES = 64 * 1024
"""Only PROPFIND has a body, and its list of properties is short."""


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
        self._sign_in = None if credentials is None else SignIn(credentials)
        self._only_loopback_names = only_loopback_names
        self._warn = warn

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request, or hand it on with its body in memory and the bytes of its path as they came.

        Nothing of a body is read for anybody who may not read snapshots, or that is not wanted.
        """
        refusal = self._refused_client(environ) or _refused_method(environ) or _refused_body(environ)
        if refusal is not None:
            status, text, headers = refusal
            return answer(environ, start_response, status, text, headers)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(_body_bytes(environ)))
        # WSGI hands a path's bytes over as characters of Latin-1; those that are no UTF-8 are kept as os.fsdecode does.
        environ["PATH_INFO"] = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape")
        return self._application(environ, start_response)

    def _refused_client(self, environ: Environ) -> Refusal | None:
        if self._sign_in is not None:
            header, client = environ.get("HTTP_AUTHORIZATION", ""), environ.get("REMOTE_ADDR", "")
            try:
                is_right = bool(header) and self._sign_in.is_right(header, client)
            except TooManyAttempts as error:
                wait = ("Retry-After", str(math.ceil(error.retry_after_s)))
                return "429 Too Many Requests", str(error), (wait,)
            if not is_right:
                if header:
                    self._warn(f"wrong user or password from {client}")
                challenge = ("WWW-Authenticate", 'Basic realm="limpet", charset="UTF-8"')
                return "401 Unauthorized", "a user and a password are needed", (challenge,)
        if self._only_loopback_names and not is_loopback(_host(environ)):
            return "403 Forbidden", "this view is for its own machine: use localhost", ()
        return None


def _refused_method(environ: Environ) -> Refusal | None:
    if environ["REQUEST_METHOD"] in METHODS:
        return None
    return "405 Method Not Allowed", "snapshots can only be read", (("Allow", ", ".join(METHODS)),)


def _refused_body(environ: Environ) -> Refusal | None:
    if environ.get("wsgi.input_terminated"):  # in chunks: cheroot would hold one in memory, of whatever size it is
        return "413 Request Entity Too Large", "a body's length must come first", ()
    limit_bytes = BODY_LIMIT_BYTES if environ["REQUEST_METHOD"] == "PROPFIND" else 0
    if _body_bytes(environ) > limit_bytes:
        return "413 Request Entity Too Large", "the body is too large", ()
    return None


def _body_bytes(environ: Environ) -> int:
    return int(environ.get("CONTENT_LENGTH") or 0)  # what is no number was refused before


def answer(
    environ: Environ, start_response: StartResponse, status: str, text: str, headers: Headers = ()
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
