"""What can be known of a device without reading it: by the ways of following changes that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limpet_source_device.ranges import Range


@dataclass(frozen=True, slots=True)
class Followed:
    """What one way knows."""

    memory: Mapping[str, Any] | None = None
    """To be kept with the snapshot, and given back when it is the parent."""
    holes: Sequence[Range] = field(default=())
    unchanged: Sequence[Range] = field(default=())
    reason: str = ""
    """Why nothing is known to be unchanged, where that could be expected."""
