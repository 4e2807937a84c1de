"""Which snapshots are kept, why, and the removal of the others."""

from limpet.operations.retention.decide import Decision, Kept, apply_policy
from limpet.operations.retention.forget import (
    GroupDecision,
    LastSnapshotError,
    RemovalResult,
    decide_groups,
    protected_at,
    remove_snapshots,
)
from limpet.operations.retention.policy import UNLIMITED, Policy
from limpet.operations.retention.span import NO_SPAN, Span, parse_span

__all__ = [
    "NO_SPAN",
    "UNLIMITED",
    "Decision",
    "GroupDecision",
    "Kept",
    "LastSnapshotError",
    "Policy",
    "RemovalResult",
    "Span",
    "apply_policy",
    "decide_groups",
    "parse_span",
    "protected_at",
    "remove_snapshots",
]
