"""Snapshots made anew from others: with files left out, with other metadata, or without what is damaged."""

from limpet.operations.rewrite.filters import Excluding, Including, PathFilter
from limpet.operations.rewrite.replace import NewMetadata, Outcome, Replacement, ReplaceOptions, SnapshotReplacer
from limpet.operations.rewrite.run import RewriteOptions, SnapshotRewriter
from limpet.operations.rewrite.trees import TreeRewriter, TreeRules

__all__ = [
    "Excluding",
    "Including",
    "NewMetadata",
    "Outcome",
    "PathFilter",
    "ReplaceOptions",
    "Replacement",
    "RewriteOptions",
    "SnapshotReplacer",
    "SnapshotRewriter",
    "TreeRewriter",
    "TreeRules",
]
