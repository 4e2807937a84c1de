"""What a benchmark measures, and what follows from it for connections and the size of packs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIB = 1 << 20
SMALLEST_PACK_BYTES, LARGEST_PACK_BYTES = 16 * MIB, 128 * MIB
"""restic's default, below which no storage is better off, and the most that a repository may be set to."""
GOOD_ENOUGH = 0.9
"""More connections are only suggested where fewer stay below this fraction of the best."""
WAITING_SHARE = 0.05
"""Packs are to be so large that a connection waits for at most this fraction of its time."""


@dataclass(frozen=True, slots=True)
class CallTime:
    """How long one call on a small file takes, alone."""

    call: str
    median_s: float
    worst_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """What so many connections do together: bytes a second of large files, and small reads a second."""

    connections: int
    upload_bps: float
    download_bps: float
    reads_per_s: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Settings that suit the storage."""

    connections: int
    pack_size_bytes: int


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """Everything that was measured, fewest connections first."""

    calls: Sequence[CallTime]
    loads: Sequence[Load]

    def suggest(self) -> Suggestion:
        """The fewest connections that are good enough for uploads, downloads and small reads, and a pack's size."""
        rates: tuple[Callable[[Load], float], ...] = (
            lambda load: load.upload_bps,
            lambda load: load.download_bps,
            lambda load: load.reads_per_s,
        )
        chosen = max((self._good_enough(rate) for rate in rates), key=lambda load: load.connections)
        wait_s = next(call.median_s for call in self.calls if call.call == "save")
        return Suggestion(chosen.connections, _pack_size_bytes(wait_s, chosen.upload_bps / chosen.connections))

    def _good_enough(self, rate: Callable[[Load], float]) -> Load:
        best = max(rate(load) for load in self.loads)
        return next(load for load in self.loads if rate(load) >= GOOD_ENOUGH * best)


def _pack_size_bytes(wait_s: float, rate_bps: float) -> int:
    """The smallest power of two that keeps a connection of this rate from mostly waiting."""
    wanted = wait_s * rate_bps * (1 - WAITING_SHARE) / WAITING_SHARE
    size = SMALLEST_PACK_BYTES
    while size < min(wanted, LARGEST_PACK_BYTES):
        size *= 2
    return size
