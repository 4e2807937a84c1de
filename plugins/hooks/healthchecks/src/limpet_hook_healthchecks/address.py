"""The address of a check: whoever knows it can ping it, so it is a secret and shown nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from limpet.errors import UsageError

_VISIBLE = range(0x21, 0x7F)


@dataclass(frozen=True, slots=True)
class PingAddress:
    """The address of one check; only the server's name is ever shown."""

    _parts: SplitResult

    @property
    def server(self) -> str:
        """The name of the server, as it may be shown."""
        return self._parts.hostname or ""

    def endpoint(self, signal: str, parameters: dict[str, str]) -> str:
        """Where to send `signal`: `start`, `fail`, an exit code, or nothing for success."""
        path = self._parts.path.rstrip("/") + (f"/{signal}" if signal else "")
        query = "&".join(part for part in (self._parts.query, urlencode(parameters)) if part)
        return urlunsplit((self._parts.scheme, self._parts.netloc, path, query, ""))

    def __repr__(self) -> str:
        return f"PingAddress({self.server!r})"


def ping_address(url: str) -> PingAddress:
    """The address; UsageError, which does not show it, for what is none."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:
        is_address = False
    if not is_address or not all(ord(letter) in _VISIBLE for letter in url):
        raise UsageError("healthchecks.url: what is given there is no address such as https://hc-ping.com/UUID")
    return PingAddress(parts)


def slug_address(base: str, ping_key: str, slug: str) -> PingAddress:
    """The address of a check by the ping key of its project and its name there."""
    return ping_address(f"{base.rstrip('/')}/{quote(ping_key, safe='')}/{quote(slug, safe='')}")
