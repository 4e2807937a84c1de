"""Requests to the JSON API: a pool of connections that is reused, one try each, errors of the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import urllib3
from limpet.contracts.transport import Transport

from limpet_backend_gs.credentials import Credentials
from limpet_backend_gs.errors import broken, reason, refused

PUBLIC_ENDPOINT = "https://storage.googleapis.com"
SENT_AT_ONCE_BYTES = 1 << 18
"""The time limit of a socket holds for each piece: a slow line is not a stuck one."""
BEYOND_THE_END = 416
_UNAUTHORIZED = 401


class Service:
    """Google Cloud Storage, or an emulator of it. Thread-safe."""

    def __init__(self, endpoint: str, credentials: Credentials, transport: Transport, connections: int) -> None:
        parts = urlsplit(endpoint)
        self.host = parts.netloc
        self.credentials = credentials
        self._endpoint = endpoint
        self._user_agent = transport.user_agent or f"limpet-backend-gs/{version('limpet-backend-gs')}"
        self._pools = _pools(parts.scheme, str(parts.hostname), transport, connections)
        self._asking = _Asking(self._pools)

    def request(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[memoryview] | None = None,
        accepted: tuple[int, ...] = (),
    ) -> urllib3.BaseHTTPResponse:
        """The answer with its whole body, if it is a success or `accepted`; BackendError otherwise.

        `path` is percent-encoded. `what` begins the line that tells of a failure. A token that the service does not
        take any more is renewed, and the request made once more.
        """
        url = f"{self._endpoint}{path}?{urlencode(query)}" if query else self._endpoint + path
        sent = {"User-Agent": self._user_agent, "Accept-Encoding": "identity", **(headers or {})}
        if body is not None:
            sent["Content-Length"] = str(sum(part.nbytes for part in body))
        answer = self._once(what, method, url, sent, body)
        if answer.status == _UNAUTHORIZED and self.credentials.renewable:
            self.credentials.forget(sent)
            answer = self._once(what, method, url, sent, body)
        if 200 <= answer.status < 300 or answer.status in accepted:
            return answer
        raise refused(what, answer.status, answer.headers, answer.data)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._pools.clear()

    def _once(
        self, what: str, method: str, url: str, headers: dict[str, str], body: Sequence[memoryview] | None
    ) -> urllib3.BaseHTTPResponse:
        self.credentials.add_to(headers, self._asking)
        try:
            answer = self._pools.urlopen(
                method,
                url,
                body=None if body is None else _pieces(body),
                headers=headers,
                redirect=False,
                preload_content=False,
            )
            if answer.status == BEYOND_THE_END:
                # fake-gcs-server ends the connection after this answer, and does not say so: it must not be used again.
                answer.close()
                answer.release_conn()
            else:
                answer.read(decode_content=False, cache_content=True)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise broken(what, self.host, error) from error
        return answer


@dataclass(frozen=True, slots=True)
class _Told:
    """An answer, as google-auth wants to see it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Asking:
    """google-auth's way to the servers that give tokens: our own pools, and so every field of the transport."""

    def __init__(self, pools: urllib3.PoolManager) -> None:
        self._pools = pools

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_more: Any,
    ) -> _Told:
        from google.auth.exceptions import TransportError  # noqa: PLC0415  # 0.1 s

        limit: dict[str, Any] = {} if timeout is None else {"timeout": urllib3.Timeout(timeout)}
        failed: Any = TransportError  # it has no types
        try:
            answer = self._pools.request(method, url, body=body, headers=headers, redirect=False, **limit)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise failed(reason(urlsplit(url).netloc, error)) from error
        return _Told(answer.status, answer.headers, answer.data)


def _pieces(body: Sequence[memoryview]) -> Iterator[memoryview]:
    for part in body:
        for start in range(0, part.nbytes, SENT_AT_ONCE_BYTES):
            yield part[start : start + SENT_AT_ONCE_BYTES]


def _pools(scheme: str, host: str, transport: Transport, connections: int) -> urllib3.PoolManager:
    """At most `connections` connections at once to a host, through the proxy of the environment if it names one."""
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    limit_s = transport.stuck_request_timeout_s
    settings = {
        "maxsize": connections,
        "block": True,
        "retries": False,
        "timeout": urllib3.Timeout(connect=limit_s, read=limit_s),
        "ssl_context": transport.ssl_context(),  # also where the service is http: the servers of tokens are not
        "blocksize": SENT_AT_ONCE_BYTES,
    }
    if not transport.verify_tls:  # who asked for that need not be told so with every request
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    proxy = getproxies().get(scheme)
    if not proxy or proxy_bypass(host):
        return urllib3.PoolManager(num_pools=4, **settings)  # type: ignore[arg-type]
    user, at, _ = urlsplit(proxy).netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(user)) if at else None
    return urllib3.ProxyManager(proxy, num_pools=4, proxy_headers=headers, **settings)  # type: ignore[arg-type]
