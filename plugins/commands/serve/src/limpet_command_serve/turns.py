"""One password of a client is looked at after the other: a flood of them does not keep the others waiting."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limpet.contracts.guesses import TooManyAttempts, network_of

MOST_WAITING = 100
"""Passwords of one client that wait to be looked at; one at a time is."""


class Turns:
    """Who looks at passwords, of which client. For one thread: the event loop's."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """While a password of the client is looked at, one after the other; TooManyAttempts where too many wait."""
        network = network_of(client)
        if self._waiting[network] >= MOST_WAITING:
            raise TooManyAttempts(1.0)
        self._waiting[network] += 1
        lock = self._locks.setdefault(network, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network], self._locks[network]
