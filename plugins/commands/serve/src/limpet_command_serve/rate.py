"""Rates by client: how much each may do in a second, whatever the others do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from limpet.contracts.buckets import Buckets

BURST_S = 1.0
"""What may pass at once after a pause, as seconds of the rate."""
LEAST_PIECE_BYTES = 16 * 1024


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
