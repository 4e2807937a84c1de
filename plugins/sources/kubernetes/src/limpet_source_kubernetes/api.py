"""`Cluster`: the Kubernetes API as far as a backup needs it, with errors that a user can read.

Everything is made on the first request: `Source.open` runs before the core forks its workers.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from limpet.errors import SourceError

from limpet_source_kubernetes.kubeconfig import Access
from limpet_source_kubernetes.tls import tls_context

if TYPE_CHECKING:
    import urllib3

CONNECT_LIMIT_S = 30.0
ANSWER_LIMIT_S = 120.0
PAGE = 500
_REASON_BYTES = 300
Fields = Mapping[str, Any]


class ApiError(SourceError):
    """The API refused a request, or did not answer. `status` is HTTP's, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NoObjectError(ApiError):
    """There is no such object, or no such kind of objects."""


def object_path(api_version: str, namespace: str, kind: str, name: str = "") -> str:
    """Path of objects in a namespace: `/api/v1/namespaces/prod/pods/web-0`. `kind` is the plural."""
    start = "/api" if "/" not in api_version else "/apis"
    path = f"{start}/{api_version}/namespaces/{quote(namespace, safe='')}/{kind}"
    return f"{path}/{quote(name, safe='')}" if name else path


class Cluster:
    """Requests to one cluster. Thread-safe."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._pool: urllib3.PoolManager | None = None
        self._context: ssl.SSLContext | None = None
        self._has_context = False

    @property
    def server(self) -> str:
        """The address that requests go to; it holds no secrets."""
        parts = urlsplit(self.access.server)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def tls(self) -> ssl.SSLContext | None:
        """The context of every connection."""
        if not self._has_context:
            self._context, self._has_context = tls_context(self.access), True
        return self._context

    def proxy(self) -> str | None:
        """The proxy on the way, by the kubeconfig or else by the environment."""
        if self.access.proxy:
            return self.access.proxy
        from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  # it brings all of HTTP

        parts = urlsplit(self.access.server)
        return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)

    def headers(self) -> dict[str, str]:
        """Who we are."""
        token = self.access.identity.bearer()
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> Fields:
        """One object; NoObjectError if there is none."""
        return self._request("GET", path)

    def list(self, path: str, selector: str | None = None) -> Iterator[Fields]:
        """All objects of a kind, page by page."""
        asked = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {})}
        while True:
            page = self._request("GET", f"{path}?{urlencode(asked)}")
            items = page.get("items")
            if not isinstance(items, list | None) or "items" not in page:
                raise ApiError(f"{self.server}{path}: the answer is no list: is this a Kubernetes API?")
            yield from items or ()
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return
            asked["continue"] = str(more)

    def create(self, path: str, body: Fields) -> Fields:
        """The object as it was made."""
        return self._request("POST", path, body)

    def delete(self, path: str, grace_s: int | None = None) -> None:
        """Remove an object; one that is gone already is fine."""
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            self._request("DELETE", path, body)
        except NoObjectError:
            return

    def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            self._pool.clear()

    def renew(self) -> bool:
        """Ask the program that gives the credentials for new ones; False if there is none."""
        if not self.access.identity.obtain(again=True):
            return False
        self._has_context = False
        if self._pool is not None:
            self._pool.clear()
            self._pool = None
        return True

    def _request(self, method: str, path: str, body: Fields | None = None) -> Fields:
        status, answer = self._send(method, path, body)
        if status == 401 and self.renew():
            status, answer = self._send(method, path, body)
        shown = f"{self.server}{path.partition('?')[0]}"
        if status >= 400:
            raise refusal(f"{method} {shown}", status, answer)
        try:
            document = json.loads(answer)
        except ValueError as error:
            raise ApiError(f"{shown}: the answer is no JSON: is this a Kubernetes API?", status) from error
        if not isinstance(document, dict):
            raise ApiError(f"{shown}: the answer is no object: is this a Kubernetes API?", status)
        return document

    def _send(self, method: str, path: str, body: Fields | None) -> tuple[int, bytes]:
        import urllib3  # noqa: PLC0415  # 0.1 s that only a backup of a cluster needs

        headers = {"Accept": "application/json", "User-Agent": "limpet", **self.headers()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._connections().request(
                method,
                self.access.server + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                retries=_retries(),
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_LIMIT_S, read=ANSWER_LIMIT_S),
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise ApiError(f"the Kubernetes API at {self.server} does not answer: {_plain(error)}") from error
        return answer.status, answer.data

    def _connections(self) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415

        if self._pool is None:
            more: dict[str, Any] = {"maxsize": 4}
            if (context := self.tls()) is not None:
                more["ssl_context"] = context
                if self.access.server_name:
                    more["server_hostname"] = self.access.server_name
                    more["assert_hostname"] = self.access.server_name if self.access.verifies else False
            proxy = self.proxy()
            if not self.access.verifies:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # who asked for it knows
            self._pool = urllib3.PoolManager(**more) if proxy is None else urllib3.ProxyManager(proxy, **more)
        return self._pool


def _retries() -> urllib3.Retry:
    """Of what only looks, twice more: an API server that is just being replaced is away for a moment."""
    import urllib3  # noqa: PLC0415

    return urllib3.Retry(
        total=2,
        redirect=0,
        backoff_factor=0.3,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET",),
        raise_on_status=False,
        respect_retry_after_header=False,
    )


def refusal(asked: str, status: int, answer: bytes) -> ApiError:
    """The error of an answer of 400 or more, with what the API says about it."""
    said = _said(answer)
    reason = f": {said}" if said else ""
    if status == 404:
        return NoObjectError(f"{asked}: not found{reason}", status)
    if status == 401:
        return ApiError(f"{asked}: the cluster does not know who we are (401): renew the kubeconfig{reason}", status)
    if status == 403:
        return ApiError(f"{asked}: forbidden, a role is missing (403){reason}", status)
    return ApiError(f"{asked}: HTTP {status}{reason}", status)


def _said(answer: bytes) -> str:
    try:
        text = str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        text = answer.decode(errors="replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_REASON_BYTES]


def _plain(error: BaseException) -> str:
    """The innermost reason in one line: the outer ones repeat addresses of objects."""
    while (inner := error.__cause__ or getattr(error, "reason", None)) is not None and isinstance(inner, BaseException):
        error = inner
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return " ".join(str(error).split())[:_REASON_BYTES] or type(error).__name__
