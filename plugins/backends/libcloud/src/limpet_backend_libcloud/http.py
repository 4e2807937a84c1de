"""libcloud's connection with our own TLS, time limits and errors, put into every driver."""

from __future__ import annotations

import os
import re
import ssl
from functools import cached_property, partial
from typing import Any

import requests
import urllib3
from libcloud.common.types import MalformedResponseError
from libcloud.http import LibcloudConnection
from limpet.contracts.transport import Transport
from requests.adapters import HTTPAdapter

from limpet_backend_libcloud.errors import StatusError

USER_AGENT = "limpet-backend-libcloud"
BLOCK_SIZE_BYTES = 256 * 1024
"""How much of an upload goes to the socket at once."""
_UPLOADING = frozenset({"PUT", "POST"})
_RANGE = re.compile(r"bytes=(\d+)-")


class Http:
    """What the transport says. Thread-safe."""

    def __init__(self, transport: Transport) -> None:
        self.timeout_s = transport.stuck_request_timeout_s
        self.user_agent = transport.user_agent or USER_AGENT
        self._transport = transport
        if not transport.verify_tls:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # who asked for it knows

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """Made once, it takes long; UsageError for a file that cannot be used."""
        return self._transport.ssl_context()

    def fit(self, driver: Any) -> None:
        """Have all requests of the driver go through a connection of ours."""
        connection = getattr(driver, "connection", None)
        if connection is None or not hasattr(connection, "conn_class"):
            return
        connection.conn_class = partial(TransportConnection, self)
        connection._user_agent = lambda: self.user_agent
        connection.connection = None  # the one that the constructor has made; no request went through it
        if connection.secure:
            _ = self.ssl_context


class TransportConnection(LibcloudConnection):
    """One keep-alive connection. An answer that is no success is an error here, before a driver can misread it.

    The drivers' own reading: S3 takes a refused HEAD for a missing object, and a missing bucket for a wrong hash.
    """

    def __init__(self, http: Http, host: str, port: int, secure: bool | int | None = None, **_others: Any) -> None:
        super().__init__(host, port, secure=secure)  # type: ignore[no-untyped-call]
        self._http = http
        self._address = str(self.host)
        self._session = requests.Session()
        self._session.auth = _as_it_is
        adapter = TransportAdapter(http)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter)

    def request(  # noqa: PLR0917  # libcloud's
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Any = None,
        raw: bool = False,
        stream: bool = False,
        hooks: Any = None,
    ) -> None:
        self.prepared_request(method, url, body, headers, raw, stream)

    def prepared_request(  # noqa: PLR0917  # libcloud's
        self, method: str, url: str, body: Any = None, headers: Any = None, raw: bool = False, stream: bool = False
    ) -> None:
        if hasattr(body, "fileno") and os.fstat(body.fileno()).st_size == 0:
            body = b""  # requests would send an empty file in chunks, which object stores refuse
        answer = self._session.request(
            method,
            self._address + url,
            data=body,
            headers={name: str(value) for name, value in (headers or {}).items()},
            stream=stream,
            timeout=self._http.timeout_s,
            allow_redirects=False,
        )
        if answer.status_code == 200 and "Content-Range" in answer.headers:
            answer.status_code = 206  # a part that the server did not call one
        self.response = answer
        if answer.status_code < 300:
            if method.upper() == "GET":
                _check_whole(answer)
            return
        _ = answer.content  # read to its end, so that the connection can be used again
        is_upload = method.upper() in _UPLOADING
        if answer.status_code == 409 and is_upload:
            return  # the container is there already: drivers have an error for that
        if answer.status_code != 404 or is_upload:
            raise StatusError(answer.status_code, answer.headers.get("Retry-After"))

    def shut(self) -> None:
        """Close the socket."""
        if self.response is not None:
            self.response.close()
        self._session.close()


class TransportAdapter(HTTPAdapter):
    """One connection to each host, with the transport's own TLS; nothing is tried twice."""

    def __init__(self, http: Http) -> None:
        self._http = http
        super().__init__(pool_connections=2, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, **keywords, blocksize=BLOCK_SIZE_BYTES)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """The host, and our context instead of files: requests would add its own root certificates to ours."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._http.ssl_context} if host["scheme"] == "https" else {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context says it all."""

    def close(self) -> None:
        """Close the sockets now: requests leaves that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # it is no dict
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


def _check_whole(answer: requests.Response) -> None:
    """MalformedResponseError where bytes could be taken for others: drivers look at neither range nor end of a body."""
    asked = _RANGE.match(str(answer.request.headers.get("Range", "")))
    came = answer.headers.get("Content-Range", "")
    if asked and answer.status_code == 206 and not came.startswith(f"bytes {asked[1]}-"):
        raise MalformedResponseError("another range than was asked for")
    if not any(name in answer.headers for name in ("Content-Length", "Transfer-Encoding")):
        raise MalformedResponseError("its length is not told")


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The request, signed already: a .netrc must not add to it."""
    return request
