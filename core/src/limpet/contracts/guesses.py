"""How often a client may try passwords: the brute force stops, and nobody else is locked out by it.

A guess is counted for its client and the name it tries: who guesses shuts out himself only.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable

from limpet.contracts.buckets import Buckets

FREE_GUESSES = 10
"""Wrong passwords in a row without any waiting: an old password in a script is not an attack."""
PAUSE_S = 10.0
"""Each further guess, for one client and user: 8,640 a day."""


class TooManyAttempts(Exception):  # noqa: N818  # no failure of ours
    """The client has to wait, whether or not this password is right."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many wrong passwords, the next one may be tried in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class Guesses:
    """Counts the guesses of each client, of any thread."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._buckets = Buckets[tuple[str, str]](1 / PAUSE_S, FREE_GUESSES, now=now)
        self._lock = threading.Lock()

    def begin(self, client: str, user: str) -> None:
        """Count a guess before it is looked at, for they come in parallel; TooManyAttempts where it is one too many."""
        with self._lock:
            wait_s = self._buckets.try_take((network_of(client), user))
        if wait_s:
            raise TooManyAttempts(wait_s)

    def forget(self, client: str, user: str) -> None:
        """It was no guess, or nobody looked at it: it does not count."""
        with self._lock:
            self._buckets.give_back((network_of(client), user))


def network_of(client: str) -> str:
    """What one attacker has for himself: an IPv4 address, or 64 bits of an IPv6 one. Other text stays as it is."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
