"""Metrics pushed to a Pushgateway, for machines that no Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from limpet.contracts.hooks import RunInfo, RunResult
from limpet.errors import UsageError
from prometheus_client import pushadd_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from limpet_hook_prometheus.exposition import registry_of
from limpet_hook_prometheus.metrics import run_labels, run_metrics

_Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A Pushgateway; only its server's name is ever shown."""

    _url: str
    server: str
    _user: str | None
    _password: str

    def push(self, job: str, run: RunInfo, result: RunResult, timeout_s: float) -> None:
        """Push the run's metrics; those that it has none of stay as they were there. Errors are urllib's."""
        registry = registry_of(run_metrics(run, result), {})
        pushadd_to_gateway(
            self._url, job, registry, grouping_key=run_labels(run), timeout=timeout_s, handler=self._request
        )

    def _request(
        self, url: str, method: str, timeout: float | None, headers: _Headers, data: bytes
    ) -> Callable[[], None]:
        if self._user is None:
            return default_handler(url, method, timeout, headers, data)
        return basic_auth_handler(url, method, timeout, headers, data, self._user, self._password)

    def __repr__(self) -> str:
        return f"Gateway({self.server!r})"


def gateway_at(url: str) -> Gateway:
    """The gateway; user and password may be in the address. UsageError, which does not show it, for what is none."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        is_address = parts.scheme in {"http", "https"} and parts.hostname
    except ValueError:
        is_address, port = False, ""
    if not is_address or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError("prometheus.push_url: what is given there is no address such as http://gateway:9091")
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else str(parts.hostname)
    user = unquote(parts.username) if parts.username else None
    bare = urlunsplit((parts.scheme, host + port, parts.path, "", ""))
    return Gateway(bare, host, user, unquote(parts.password or ""))
