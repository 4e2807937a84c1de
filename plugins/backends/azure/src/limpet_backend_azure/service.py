"""Requests to the blob service: a pool of connections that is reused, one try each, errors of the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from urllib.parse import quote, unquote, urlsplit

import urllib3
from limpet.contracts.transport import Transport
from limpet.errors import BackendError

from limpet_backend_azure.account import Account
from limpet_backend_azure.errors import broken, refused

SERVICE_VERSION = "2021-12-02"
"""Of the REST interface; the first that knows the tier `Cold`."""
_UNAUTHORIZED = 401
SENT_AT_ONCE_BYTES = 1 << 18
"""The time limit of a socket holds for each piece: a slow line is not a stuck one."""


class Service:
    """The blob service of one account. Thread-safe."""

    def __init__(self, account: Account, transport: Transport, connections: int) -> None:
        parts = urlsplit(account.endpoint)
        self.host = parts.netloc
        self._path = parts.path
        self._account = account
        self._user_agent = transport.user_agent or f"limpet-backend-azure/{version('limpet-backend-azure')}"
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._pools = _pools(parts.scheme, str(parts.hostname), transport, connections)

    def request(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: memoryview | None = None,
        accepted: tuple[int, ...] = (),
    ) -> urllib3.BaseHTTPResponse:
        """The answer with its whole body, if it is a success or `accepted`; BackendError otherwise.

        `path` is what follows the account, not encoded. `what` begins the line that tells of a failure.
        """
        answer = self._ask(what, method, path, query=query or {}, headers=headers or {}, body=body)
        if answer.status == _UNAUTHORIZED and self._account.authorizer.forget():
            answer = self._ask(what, method, path, query=query or {}, headers=headers or {}, body=body)
        if 200 <= answer.status < 300 or answer.status in accepted:
            return answer
        raise refused(what, answer.status, answer.headers, answer.data)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._pools.clear()
        self._account.authorizer.close()

    def _ask(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: memoryview | None,
    ) -> urllib3.BaseHTTPResponse:
        path = quote(f"{self._path}/{path}")
        sent = {"x-ms-version": SERVICE_VERSION, **headers}
        if body is not None:
            sent["Content-Length"] = str(body.nbytes)
        parameters = self._account.authorizer.authorize(method, path, query, sent)
        sent["User-Agent"] = self._user_agent
        sent["Accept-Encoding"] = "identity"
        url = f"{self._origin}{path}?{parameters}" if parameters else self._origin + path
        try:
            return self._pools.urlopen(
                method,
                url,
                body=None if body is None else _pieces(body),
                headers=sent,
                redirect=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise broken(what, self.host, error) from error


def size_of(answer: urllib3.BaseHTTPResponse, what: str) -> int:
    """The length that the head of an answer states; BackendError if it states none."""
    text = answer.headers.get("Content-Length", "")
    if not (text.isascii() and text.isdigit()):
        raise BackendError(f"{what}: the service does not tell the size")
    return int(text)


def _pieces(body: memoryview) -> Iterator[memoryview]:
    for start in range(0, body.nbytes, SENT_AT_ONCE_BYTES):
        yield body[start : start + SENT_AT_ONCE_BYTES]


def _pools(scheme: str, host: str, transport: Transport, connections: int) -> urllib3.PoolManager:
    """At most `connections` connections at once, through the proxy of the environment if it names one."""
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    limit_s = transport.stuck_request_timeout_s
    settings = {
        "maxsize": connections,
        "block": True,
        "retries": False,
        "timeout": urllib3.Timeout(connect=limit_s, read=limit_s),
        "ssl_context": transport.ssl_context() if scheme == "https" else None,
        "blocksize": SENT_AT_ONCE_BYTES,
    }
    if not transport.verify_tls:  # who asked for that need not be told so with every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    proxy = getproxies().get(scheme)
    if not proxy or proxy_bypass(host):
        return urllib3.PoolManager(num_pools=1, **settings)  # type: ignore[arg-type]
    user, at, _ = urlsplit(proxy).netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(user)) if at else None
    return urllib3.ProxyManager(proxy, num_pools=1, proxy_headers=headers, **settings)  # type: ignore[arg-type]
