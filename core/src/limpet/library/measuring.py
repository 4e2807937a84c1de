"""The part of the public library that measures storages."""

from __future__ import annotations

import os
from collections.abc import Mapping

from limpet.contracts.backend import Backend
from limpet.contracts.transport import Transport
from limpet.operations.benchmark import BenchmarkOptions, BenchmarkResult
from limpet.operations.benchmark import benchmark as run_benchmark
from limpet.progress import Reporter
from limpet.registry.opening import connections_option, open_backend, scratch_location
from limpet.storage.retry import RetryBackend


def benchmark(
    location: str | os.PathLike[str],
    options: BenchmarkOptions | None = None,
    *,
    backend_options: Mapping[str, str] | None = None,
    transport: Transport | None = None,
    reporter: Reporter | None = None,
) -> BenchmarkResult:
    """How quick the storage at the location is; `suggest()` of the result says which settings suit it.

    A folder or prefix of its own below the location is used and deleted; what is in the location stays as it is.
    `backend_options` are values by full name (`{"s3.region": "eu"}`).
    """
    scratch = scratch_location(os.fspath(location))
    by_name = connections_option(os.fspath(location))

    def open_with(connections: int) -> Backend:
        own = {by_name: str(connections)} if by_name else {}
        return RetryBackend(open_backend(scratch, {**(backend_options or {}), **own}, transport), reporter=reporter)

    return run_benchmark(open_with, options, reporter)
