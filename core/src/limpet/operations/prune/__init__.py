"""Removing data that no snapshot needs."""

from limpet.operations.prune.options import PruneOptions, UnusedLimit
from limpet.operations.prune.result import PruneResult
from limpet.operations.prune.run import prune

__all__ = ["PruneOptions", "PruneResult", "UnusedLimit", "prune"]
