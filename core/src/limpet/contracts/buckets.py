"""Token buckets by key: how much each client may do in a second, whatever the others do."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from limpet.errors import UsageError

MOST_KEYS = 10_000
"""Buckets kept at once; beyond, those go that were not used for the longest time: memory is bounded under attack."""

K = TypeVar("K", bound=Hashable)


class Buckets(Generic[K]):
    """One bucket a key, all of the same rate and size. For one thread."""

    def __init__(
        self,
        per_s: float,
        burst: float,
        *,
        now: Callable[[], float] = time.monotonic,
        most: int = MOST_KEYS,
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
        return max(self._paid_until.get(key, -math.inf), now - self._burst_s)

    def _set(self, key: K, paid_until: float, now: float) -> None:
        self._paid_until[key] = paid_until
        self._paid_until.move_to_end(key)
        while len(self._paid_until) > self._most or self._oldest_is_full(now):
            self._paid_until.popitem(last=False)

    def _oldest_is_full(self, now: float) -> bool:
        return next(iter(self._paid_until.values()), math.inf) <= now - self._burst_s
