"""Token buckets by client: how much each may do in a second, whatever the others do."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from limpet.errors import UsageError

MOST_CLIENTS = 10_000
"""Buckets kept at once; beyond, those go that were not used for the longest time: memory is bounded under attack."""
BURST_S = 1.0
"""What may pass at once after a pause, as seconds of the rate."""
LEAST_PIECE_BYTES = 16 * 1024

K = TypeVar("K", bound=Hashable)


class Buckets(Generic[K]):
    """One bucket a key, all of the same rate and size. For one thread: the event loop's."""

    def __init__(
        self,
        per_s: float,
        burst: float,
        *,
        now: Callable[[], float] = time.monotonic,
        most: int = MOST_CLIENTS,
    ) -> None:
        if per_s <= 0 or burst <= 0:
            raise UsageError(f"a rate limit must be above 0, not {min(per_s, burst):g}")
        self.per_s = per_s
        self._burst_s = burst / per_s
        self._now = now
        self._most = most
        self._paid_until: OrderedDict[K, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid_until)

    def take(self, key: K, amount: float = 1.0) -> float:
        """Take the amount, on credit where it is not there; seconds until it is paid for."""
        now = self._now()
        paid_until = self._level(key, now) + amount / self.per_s
        self._set(key, paid_until, now)
        return max(0.0, paid_until - now)

    def try_take(self, key: K, amount: float = 1.0) -> float:
        """Take the amount and return 0; where it is not there take nothing and return the seconds until it is."""
        now = self._now()
        paid_until = self._level(key, now) + amount / self.per_s
        wait_s = paid_until - now
        if wait_s > 1e-9:  # A float's rounding is no debt.
            return wait_s
        self._set(key, paid_until, now)
        return 0.0

    def give_back(self, key: K, amount: float = 1.0) -> None:
        """Return what was taken and not used."""
        if key in self._paid_until:
            self._paid_until[key] -= amount / self.per_s

    def _level(self, key: K, now: float) -> float:
        return max(self._paid_until.get(key, 0.0), now - self._burst_s)

    def _set(self, key: K, paid_until: float, now: float) -> None:
        self._paid_until[key] = paid_until
        self._paid_until.move_to_end(key)
        while len(self._paid_until) > self._most or self._oldest_is_full(now):
            self._paid_until.popitem(last=False)

    def _oldest_is_full(self, now: float) -> bool:
        return next(iter(self._paid_until.values())) <= now - self._burst_s


class ClientRate:
    """The rates of one server, each None for no limit; a client is whatever the caller takes for one."""

    def __init__(
        self,
        *,
        upload_bps: float | None = None,
        download_bps: float | None = None,
        requests_per_s: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upload = Buckets[str](upload_bps, upload_bps * BURST_S, now=now) if upload_bps else None
        self._download = Buckets[str](download_bps, download_bps * BURST_S, now=now) if download_bps else None
        # A client opens several connections at once: a burst of requests is how it begins.
        self._requests = (
            Buckets[str](requests_per_s, max(10.0, 2 * requests_per_s), now=now) if requests_per_s else None
        )

    def request(self, client: str) -> float:
        """Count one request: 0 where it may pass, else the seconds after which the client should try again."""
        return 0.0 if self._requests is None else self._requests.try_take(client)

    async def uploaded(self, client: str, size_bytes: int) -> None:
        """Wait until these bytes, which have come in, are paid for: the sender waits with us."""
        await _wait(self._upload, client, size_bytes)

    async def downloading(self, client: str, size_bytes: int) -> None:
        """Wait until these bytes may go out."""
        await _wait(self._download, client, size_bytes)

    @property
    def download_piece_bytes(self) -> int | None:
        """How much to send at once so that the rate is even; None where there is no limit."""
        return _piece_bytes(self._download)

    @property
    def upload_piece_bytes(self) -> int | None:
        """How much to take at once; None where there is no limit."""
        return _piece_bytes(self._upload)


def _piece_bytes(buckets: Buckets[str] | None) -> int | None:
    return None if buckets is None else max(LEAST_PIECE_BYTES, int(buckets.per_s / 4))


async def _wait(buckets: Buckets[str] | None, client: str, size_bytes: int) -> None:
    if buckets is not None and (wait_s := buckets.take(client, size_bytes)) > 0:
        await asyncio.sleep(wait_s)
