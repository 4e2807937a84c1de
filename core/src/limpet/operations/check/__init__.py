"""Check: is everything there that the snapshots need, and is it sound?"""

from limpet.operations.check.options import (
    CheckOptions,
    CheckResult,
    EveryPack,
    Finding,
    FindingKind,
    PackBytes,
    PackGroup,
    PackPercent,
    Subset,
)
from limpet.operations.check.run import check

__all__ = [
    "CheckOptions",
    "CheckResult",
    "EveryPack",
    "Finding",
    "FindingKind",
    "PackBytes",
    "PackGroup",
    "PackPercent",
    "Subset",
    "check",
]
