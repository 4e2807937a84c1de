"""How quick a storage is, and which settings suit it."""

from limpet.operations.benchmark.results import BenchmarkResult, CallTime, Load, Suggestion
from limpet.operations.benchmark.run import BenchmarkOptions, benchmark

__all__ = ["BenchmarkOptions", "BenchmarkResult", "CallTime", "Load", "Suggestion", "benchmark"]
