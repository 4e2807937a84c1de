"""`Pool`: at most so many connections to one server, kept open and used again."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from limpet.contracts.transport import Transport, keep_alive_options
from limpet.errors import BackendError

from limpet_backend_rest.place import Place
from limpet_backend_rest.proxy import Proxy
from limpet_backend_rest.wire import Answer, Connection

T = TypeVar("T")

CONNECT_LIMIT_S = 30.0
"""restic's: a host that is there takes a connection sooner."""


class Pool:
    """Connections to the server of a place. Thread-safe; a call waits while all of them are in use."""

    def __init__(self, place: Place, proxy: Proxy | None, transport: Transport, connections: int) -> None:
        self._place = place
        self._proxy = proxy
        self._timeout_s = transport.stuck_request_timeout_s
        self._connect_limit_s = min(CONNECT_LIMIT_S, self._timeout_s or CONNECT_LIMIT_S)
        self._tls = transport.ssl_context() if place.scheme == "https" else None
        self._free = threading.BoundedSemaphore(connections)
        self._idle: deque[Connection] = deque()
        self._closed = False

    @property
    def peer(self) -> str:
        """Who is at the other end of the connections, as messages name it."""
        return self._place.server if self._proxy is None else f"proxy {self._proxy.host}:{self._proxy.port}"

    def request(self, head: bytes, body: memoryview | None, receive: Callable[[Answer], T]) -> T:
        """What `receive` makes of the answer. OSError and ProtocolError where the exchange failed."""
        with self._free:
            connection = self._take()
            answer = None
            try:
                answer = connection.ask(head, body)
                return receive(answer)
            except BackendError:
                raise  # an answer as good as any
            except BaseException:
                answer = None  # nobody knows what is still to come on the connection
                raise
            finally:
                self._put_back(connection, answer)

    def close(self) -> None:
        """Close the idle connections, and those in use once they are not. Idempotent."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _put_back(self, connection: Connection, answer: Answer | None) -> None:
        """Keep the connection for the next request, unless it is of no use for one."""
        if answer is not None and answer.drain() and not self._closed:
            self._idle.append(connection)
            if self._closed:  # meanwhile
                self.close()
        else:
            connection.close()

    def _take(self) -> Connection:
        if self._closed:
            raise BackendError(f"{self._place.location} is closed", permanent=True)
        while True:
            try:
                connection = self._idle.pop()  # the last used: the server is the least likely to have closed it
            except IndexError:
                return Connection(self._connect())
            if connection.is_idle():
                return connection
            connection.close()

    def _connect(self) -> socket.socket:
        sock = self._connect_plain()
        if self._tls is None:
            return sock
        try:
            if self._proxy is not None:
                self._proxy.lead(sock, self._place)
            return self._tls.wrap_socket(sock, server_hostname=self._place.host)
        except BaseException:
            sock.close()
            raise

    def _connect_plain(self) -> socket.socket:
        place = self._place
        if place.socket_path is None:
            server = self._proxy or place
            sock = socket.create_connection((server.host, server.port), self._connect_limit_s)
            sock.settimeout(self._timeout_s)
            for option in ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *keep_alive_options()):
                sock.setsockopt(*option)
            return sock
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(self._timeout_s)
            sock.connect(place.socket_path)
        except BaseException:
            sock.close()
            raise
        return sock


def is_permanent(error: OSError) -> bool:
    """Whether trying again cannot mend it: a server that is not who it should be, or that does not speak TLS."""
    if isinstance(error, ssl.SSLCertVerificationError | PermissionError):
        return True
    return isinstance(error, ssl.SSLError) and any(
        word in (error.reason or "") for word in ("WRONG_VERSION", "HTTP_REQUEST", "CERTIFICATE", "UNKNOWN_CA")
    )


def reason_of(error: OSError) -> str:
    """What failed, in plain words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); give its authority with --cacert"
    if isinstance(error, ssl.SSLError):
        if "WRONG_VERSION" in (error.reason or "") or "HTTP_REQUEST" in (error.reason or ""):
            return "it speaks no TLS; is it http:// instead of https://?"
        return f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "no byte moved within the time limit"
    return (error.strerror or str(error) or type(error).__name__).lower()
