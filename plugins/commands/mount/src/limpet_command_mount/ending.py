"""How long the end of a mount may take: one limit for all of it, of which each stage takes what the others left."""

from __future__ import annotations

import time
from collections.abc import Callable

END_LIMIT_S = 2.5
"""For all that may have to wait. What never does (unmounting, Python's own end) has the rest of three seconds."""
RELEASE_S = 1.0
"""So much of it is kept for the removal of the lock, which is the last stage and has all that is left."""
GRACE_S = 0.5
"""The longest that answers under way are waited for: who asks without a pause would else get them all."""


class Ending:
    """One clock for the end, which begins when it is looked at first."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._deadline_s: float | None = None

    def left_s(self, *, kept_s: float = 0.0) -> float:
        """Seconds that are left, without those that are kept for later stages; never less than 0."""
        now_s = self._now_s()
        if self._deadline_s is None:
            self._deadline_s = now_s + END_LIMIT_S
        return max(0.0, self._deadline_s - kept_s - now_s)

    def grace_s(self) -> float:
        """Seconds for the answers under way."""
        return min(GRACE_S, self.stage_s())

    def stage_s(self) -> float:
        """Seconds for a stage before the lock is removed."""
        return self.left_s(kept_s=RELEASE_S)
