"""b2sdk's HTTP client as this backend needs it: one try a call, every field of the transport, a bounded pool."""

from __future__ import annotations

from typing import Any

import requests
import urllib3
from b2sdk.v3 import B2Http, B2HttpApiConfig  # type: ignore[import-untyped]  # it has no py.typed
from limpet.contracts.transport import Transport
from requests.adapters import HTTPAdapter

UPLOAD_BLOCK_BYTES = 1 << 18
"""So much has to go out within the time limit for a connection, which holds for sending too: on a slow line as well."""
CONNECT_TIMEOUT_S = 46.0
"""b2sdk's own: four packets without an answer."""


class OneTryHttp(B2Http):  # type: ignore[misc]  # untyped
    """Fails at once: the core's retry wrapper knows what may be tried again, and how long."""

    def __init__(self, transport: Transport, connections: int) -> None:
        # A clock that is wrong matters to nobody here: no request is signed with the time.
        super().__init__(B2HttpApiConfig(http_session_factory=requests.Session, install_clock_skew_hook=False))
        limit_s = transport.stuck_request_timeout_s
        self.CONNECTION_TIMEOUT = CONNECT_TIMEOUT_S if limit_s is None else min(limit_s, CONNECT_TIMEOUT_S)
        self.TIMEOUT_FOR_UPLOAD = limit_s  # what counts where a call names none
        if transport.user_agent is not None:
            self.user_agent = transport.user_agent
        self.session.auth = _as_it_is  # else the user's .netrc would take the place of the token
        if not transport.verify_tls:  # who asked for that need not be told so with every request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        adapter = _PooledAdapter(transport, connections)
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, adapter)

    def request(  # noqa: PLR0917  # b2sdk's signature
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        data: Any = None,
        try_count: int = 1,
        params: dict[str, str] | None = None,
        *,
        stream: bool = False,
        _timeout: float | None = None,
    ) -> Any:
        """One try, whatever the caller in b2sdk wants, with the transport's time limit for each read and write."""
        return super().request(method, url, {**headers, "Accept-Encoding": "identity"}, data, 1, params, stream=stream)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self.session.close()


class UploadBody:
    """The file that b2sdk reads an upload from, over bytes that are not copied; let go of by `close`."""

    def __init__(self, data: memoryview) -> None:
        self._data = data.cast("B")
        self._position = 0

    def __len__(self) -> int:
        return self._data.nbytes

    def seek(self, position: int) -> None:
        """Go on from there, for another try."""
        self._position = position

    def read(self, size: int = -1) -> memoryview:
        """The next bytes, empty at the end."""
        end = len(self) if size < 0 else self._position + size
        piece = self._data[self._position : end]
        self._position += piece.nbytes
        return piece

    def close(self) -> None:
        """Give the bytes back."""
        self._data.release()


class _PooledAdapter(HTTPAdapter):
    """Keeps up to `connections` connections to a host, makes a caller wait for one, and trusts whom it is told to."""

    def __init__(self, transport: Transport, connections: int) -> None:
        self._tls = {"ssl_context": transport.ssl_context(), "blocksize": UPLOAD_BLOCK_BYTES}
        super().__init__(pool_maxsize=connections, pool_block=True)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **{**options, **self._tls})

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **{**options, **self._tls})

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """The context says all about certificates: `verify` and `cert` add nothing to it."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: else requests would add certificates of its own to those that are trusted."""


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
