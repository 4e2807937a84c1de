"""How fast an operation is, smoothed, and how long it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 15.0
TOO_SLOW_BYTES_PER_S = 1024.0


class RateEstimator:
    """Bytes a second over the last seconds. Fed with running totals, at any pace."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    def record(self, bytes_done: int) -> None:
        """The running total now."""
        now = self._clock()
        self._samples.append((now, bytes_done))
        while len(self._samples) > 2 and now - self._samples[1][0] > WINDOW_S:
            self._samples.popleft()

    @property
    def bytes_per_s(self) -> float:
        """The rate; 0 until something was recorded."""
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def remaining_s(self, bytes_left: int) -> int:
        """Whole seconds until the rest is done; 0 where that cannot be told."""
        rate = self.bytes_per_s
        return int(bytes_left / rate) if rate > TOO_SLOW_BYTES_PER_S else 0
