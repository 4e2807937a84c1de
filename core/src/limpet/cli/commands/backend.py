"""`limpet backend benchmark`: how quick a storage is, and which settings suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import click

from limpet import registry
from limpet.cli.formatting import format_bytes
from limpet.cli.group import LimpetGroup
from limpet.cli.options import DEFAULT_PACK_SIZE_MIB
from limpet.cli.parameters import DURATION, SIZE
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.contracts.backend import Backend
from limpet.operations.benchmark import BenchmarkOptions, BenchmarkResult, benchmark

MIB = 1 << 20


@click.group("backend", cls=LimpetGroup)
def command() -> None:
    """Measure storages."""


@command.command("benchmark")
@click.option(
    "--max-connections",
    type=click.IntRange(min=1),
    default=16,
    metavar="n",
    help="measure up to n connections at once (default: 16)",
)
@click.option(
    "--measure-time", type=DURATION, default="2s", metavar="duration", help="take so long for each figure (default: 2s)"
)
@click.option(
    "--measure-size",
    type=SIZE,
    default="128M",
    metavar="size",
    help="upload at most so much for each number of connections (default: 128M)",
)
@click.argument("location", required=False)
@pass_session
def benchmark_command(
    session: Session, location: str | None, max_connections: int, measure_time: float, measure_size: int
) -> None:
    """Measure latency, throughput and parallelism of LOCATION, and suggest settings.

    LOCATION is written as for -r, which counts if it is left out. A folder of its own below it is used and removed:
    a repository that is there is not touched.
    """
    location = location or session.location()
    by_name = registry.connections_option(location)
    options = BenchmarkOptions(max_connections, measure_time, measure_size)
    result = benchmark(_opener(session, location, by_name), options, session.reporter)
    if session.json:
        session.print_json(_document(registry.redact(location), by_name, result))
    else:
        session.print(_text(by_name, result))


def _opener(session: Session, location: str, by_name: str | None) -> Callable[[int], Backend]:
    scratch = registry.scratch_location(location)
    given = [text for text in session.options.option if text.partition("=")[0].strip().lower() != by_name]

    def open_with(connections: int) -> Backend:
        own = [f"{by_name}={connections}"] if by_name else []
        return session.backend(replace(session.options, repo=scratch, repository_file=None, option=[*given, *own]))

    return open_with


def _document(location: str, by_name: str | None, result: BenchmarkResult) -> dict[str, object]:
    suggestion = result.suggest()
    return {
        "message_type": "benchmark",
        "location": location,
        "calls": [asdict(call) for call in result.calls],
        "loads": [asdict(load) for load in result.loads],
        "suggestion": {
            "options": {by_name: suggestion.connections} if by_name else {},
            "pack_size_mib": suggestion.pack_size_bytes // MIB,
        },
    }


def _text(by_name: str | None, result: BenchmarkResult) -> str:
    calls = format_table(
        ["Call", "Median", "Worst"],
        [[call.call, _milliseconds(call.median_s), _milliseconds(call.worst_s)] for call in result.calls],
    )
    loads = format_table(
        ["Connections", "Upload", "Download", "Small reads"],
        [
            [str(load.connections), _rate(load.upload_bps), _rate(load.download_bps), f"{load.reads_per_s:.0f}/s"]
            for load in result.loads
        ],
    )
    suggestion = result.suggest()
    flags = [f"-o {by_name}={suggestion.connections}"] if by_name else []
    pack_size_mib = suggestion.pack_size_bytes // MIB
    if pack_size_mib != DEFAULT_PACK_SIZE_MIB:
        flags.append(f"--pack-size {pack_size_mib}")
    return f"{calls}\n\n{loads}\n\nsuggested: {' '.join(flags) or 'nothing but the defaults'}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _rate(bytes_per_s: float) -> str:
    return f"{format_bytes(int(bytes_per_s))}/s"
