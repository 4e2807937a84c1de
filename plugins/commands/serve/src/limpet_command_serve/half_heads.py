"""Heads that are not whole yet, of all connections together: a bounded number of bytes waits for their ends.

Ten thousand clients may each send a part of a head and no more; nothing else grows with what clients send.
"""

from __future__ import annotations

from typing import Protocol

MOST_BYTES = 16 << 20


class Half(Protocol):
    """Who holds a part of a head."""

    def give_up(self) -> None:
        """Wait no longer for the rest."""


class HalfHeads:
    """Counts them, and has the oldest given up where they are too many."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._held: dict[Half, int] = {}
        """The bytes of each, in the order in which they began."""
        self._bytes = 0

    def hold(self, half: Half, size_bytes: int) -> None:
        """It holds so many bytes now."""
        self._bytes += size_bytes - self._held.get(half, 0)
        self._held[half] = size_bytes
        while self._bytes > self._most_bytes:
            oldest = next(iter(self._held))
            self.release(oldest)
            oldest.give_up()

    def release(self, half: Half) -> None:
        """It holds none any more. Idempotent."""
        self._bytes -= self._held.pop(half, 0)
