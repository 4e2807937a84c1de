"""The pool of connections that requests go over: TLS and time limits by the transport, proxies by the environment."""

from __future__ import annotations

import ipaddress
import os
from functools import partial
from urllib.parse import unquote

import urllib3
from limpet.contracts.transport import Transport, keep_alive_options
from limpet.errors import UsageError
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from limpet_backend_s3.place import Place


def open_pool(place: Place, transport: Transport, connections: int) -> urllib3.PoolManager:
    """A pool of exactly so many connections to the place, to its proxy if the environment names one.

    UsageError for a certificate or proxy that cannot be used.
    """
    if not transport.verify_tls:
        urllib3.disable_warnings(InsecureRequestWarning)  # it is what was asked for
    proxy, limit_s = _proxy_for(place), transport.stuck_request_timeout_s
    # num_pools: a second host only where an answer tells of another region.
    # block: the next request waits for a connection, so that there are never more than these.
    try:
        open_one = partial(urllib3.PoolManager, 2) if proxy is None else _through(proxy)
        return open_one(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=limit_s, read=limit_s),  # a total would be one for a whole upload
            socket_options=[*HTTPConnection.default_socket_options, *keep_alive_options()],
            ssl_context=transport.ssl_context() if place.is_tls else None,
        )
    except (HTTPError, ValueError) as error:
        raise UsageError(f"s3: the proxy in ${place.scheme}_proxy cannot be used: give http://HOST:PORT") from error


def _through(proxy: str) -> partial[urllib3.ProxyManager]:
    """The way through the proxy; user and password in its address prove who asks."""
    login = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if login else None
    return partial(urllib3.ProxyManager, proxy, 2, proxy_headers=headers)


def _proxy_for(place: Place) -> str | None:
    """What `http_proxy`, `https_proxy` and `no_proxy` say; never one for this machine itself, as restic."""
    name = f"{place.scheme}_proxy"
    proxy = os.environ.get(name) or os.environ.get(name.upper())
    if not proxy or _is_loopback(place.endpoint):
        return None
    from urllib.request import proxy_bypass  # noqa: PLC0415  # few have a proxy

    if proxy_bypass(place.endpoint):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(endpoint: str) -> bool:
    host = endpoint.rpartition("]")[0].lstrip("[") or endpoint.partition(":")[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
