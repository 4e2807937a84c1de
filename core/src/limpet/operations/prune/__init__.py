"""Removing data that no snapshot needs: `run.prune`, apart from what it is asked for, for it brings much with it."""

from limpet.operations.prune.options import PruneOptions, UnusedLimit
from limpet.operations.prune.result import PruneResult

__all__ = ["PruneOptions", "PruneResult", "UnusedLimit"]
