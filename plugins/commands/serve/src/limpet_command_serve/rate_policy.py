"""Holds each client below its rates: 429 for too many requests, waiting for too many bytes."""

from __future__ import annotations

from limpet_command_serve.auth_policy import retry_after
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.policy import Policy
from limpet_command_serve.rate import ClientRate


class RatePolicy(Policy):
    """A client is an address; a user, where all come from one proxy or through a socket without addresses."""

    def __init__(self, rate: ClientRate, *, by_user: bool) -> None:
        self._rate = rate
        self._by_user = by_user
        self.download_piece_bytes = rate.download_piece_bytes
        self.upload_piece_bytes = rate.upload_piece_bytes

    async def admit(self, exchange: Exchange) -> None:
        wait_s = self._rate.request(self._client(exchange))
        if wait_s:
            raise Refusal(429, "too many requests", retry_after(wait_s))

    async def uploaded(self, exchange: Exchange, size_bytes: int) -> None:
        await self._rate.uploaded(self._client(exchange), size_bytes)

    async def downloading(self, exchange: Exchange, size_bytes: int) -> None:
        await self._rate.downloading(self._client(exchange), size_bytes)

    def _client(self, exchange: Exchange) -> str:
        return exchange.user if self._by_user else (exchange.origin or exchange.user)
