"""HTTP to Swift and to its identity service: TLS as the transport says, and a fixed number of connections."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import ParseResult

import requests
import urllib3
from limpet.contracts.transport import Transport
from requests.adapters import HTTPAdapter
from swiftclient.client import (  # type: ignore[import-untyped]
    ClientException,
    HTTPConnection,
    SwiftClientRequestsSession,
    logger_settings,
)

USER_AGENT = "limpet-backend-swift"
BLOCK_SIZE_BYTES = 256 * 1024
"""How much of an upload goes to the socket at once: with urllib3's 16 KiB a third of the time is spent in Python."""

_BROKEN_STATUSES = frozenset({408, 499})
"""The server gave up amid the request, so the connection may be in the middle of a message."""

logger_settings["reveal_sensitive_prefix"] = 0  # the first half of a token is none of the log's business either


class Http:
    """What the transport says, for `requests`. Thread-safe."""

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

    def session(self) -> requests.Session:
        """A session for the identity service; the caller closes it."""
        session: requests.Session = SwiftClientRequestsSession()  # without cookies, and deaf to a .netrc
        self.mount(session)
        return session

    def mount(self, session: requests.Session) -> None:
        """Have the session speak as the transport says."""
        adapter = TransportAdapter(self)
        for scheme in ("https://", "http://"):
            session.mount(scheme, adapter)


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


class Connections:
    """At most `size` connections to Swift, each used by one call at a time. Thread-safe."""

    def __init__(self, size: int, http: Http) -> None:
        self._http = http
        self._is_closed = False
        # The one used last is taken first: those that nobody needs are never opened.
        self._idle: queue.LifoQueue[HTTPConnection | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    @contextmanager
    def use(self, url: str) -> Iterator[tuple[ParseResult, HTTPConnection]]:
        """A connection to the account at `url`, as swiftclient's functions want it; waits for a free one."""
        connection = self._idle.get()
        try:
            if connection is None or connection.url != url:
                if connection is not None:
                    connection.close()
                connection = self._open(url)
            try:
                yield connection.parsed_url, connection
            except ClientException as error:  # its body was read to the end
                if error.http_status in _BROKEN_STATUSES:
                    connection.close()
                raise
            except BaseException:
                connection.close()
                raise
        finally:
            if self._is_closed and connection is not None:
                connection.close()
            self._idle.put(connection)

    def close(self) -> None:
        """Close those that are idle now, and the others when their calls end. Idempotent."""
        self._is_closed = True
        taken = []
        while True:
            try:
                taken.append(self._idle.get_nowait())
            except queue.Empty:
                break
        for connection in taken:
            if connection is not None:
                connection.close()
            self._idle.put(connection)

    def _open(self, url: str) -> HTTPConnection:
        connection = HTTPConnection(url, default_user_agent=self._http.user_agent)
        self._http.mount(connection.request_session)
        connection.requests_args["timeout"] = self._http.timeout_s
        connection.requests_args["allow_redirects"] = False  # the token is for this server alone
        return connection
