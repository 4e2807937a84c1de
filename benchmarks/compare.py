"""Limpet beside restic, alternately, in one run and at equal safety: both verify before upload, both fsync.

    python benchmarks/compare.py --restic PATH [--data FOLDER] [--rounds 3] [--only big,small] [--write README.md]

Prints a table of wall seconds, processor seconds and peak memory with their ratios (below 1: Limpet is faster or
smaller), and puts it between the marks in the README.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from datasets import build
from jobs import DATA_SETS, PASSWORD, Job, Tool, jobs
from measure import Cost, peak_memory_mib, timed

PASSWORD_VARIABLES = ("PASSWORD", "FROM_PASSWORD")


@dataclass(slots=True)
class Measured:
    """All rounds of one job with one tool."""

    costs: list[Cost] = field(default_factory=list)
    memory_mib: float = 0.0

    @property
    def wall_s(self) -> float:
        """The median."""
        return statistics.median(cost.wall_s for cost in self.costs)

    @property
    def cpu_s(self) -> float:
        """The median."""
        return statistics.median(cost.cpu_s for cost in self.costs)


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    os.environ.update({f"{tool}_{name}": PASSWORD for tool in ("RESTIC", "LIMPET") for name in PASSWORD_VARIABLES})
    binaries = {"restic": arguments.restic, "limpet": arguments.limpet}
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir=arguments.scratch) as scratch:
        tools = [Tool(binary, Path(scratch, name)) for name, binary in binaries.items()]
        for tool in tools:
            tool.folder.mkdir()
        wanted = [name for name in DATA_SETS if not arguments.only or name in arguments.only.split(",")]
        chosen = [job for job in jobs(build(arguments.data, wanted)) if re.search(arguments.jobs, job.name)]
        lines = [row(job, tools, arguments.rounds) for job in chosen]
    table = "\n".join([*heading(binaries, "one local file system"), *lines])
    print(table)
    if arguments.write:
        write_table(arguments.write, table, "benchmark")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restic", required=True, help="restic 0.19.1")
    parser.add_argument("--limpet", default=shutil.which("limpet") or str(Path(sys.executable).with_name("limpet")))
    parser.add_argument("--data", type=Path, default=Path(".cache/bench-data"))
    parser.add_argument("--scratch", type=Path, default=None, help="where repositories go while it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="data sets, with commas between")
    parser.add_argument("--jobs", default="", help="a regular expression: only jobs whose names match")
    parser.add_argument("--write", type=Path, help="a Markdown file with marks for the table")
    return parser.parse_args()


def row(job: Job, tools: Sequence[Tool], rounds: int) -> str:
    """The job measured with both tools, as a row of the table; also shown at once."""
    results = _measure(job, tools, rounds)
    measured = line(job.name, job.target, results["restic"], results["limpet"])
    print(measured, file=sys.stderr, flush=True)
    return measured


def _measure(job: Job, tools: Sequence[Tool], rounds: int) -> dict[str, Measured]:
    # PYTHONUNBUFFERED and its kin change what is measured, and are set where programs are tested.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    results = {tool.folder.name: Measured() for tool in tools}
    for number in range(rounds + 1):
        for tool in tools if number % 2 == 0 else tools[::-1]:
            result = results[tool.folder.name]
            job.prepare(tool)
            os.sync()
            command = job.command(tool)
            if number == rounds:
                result.memory_mib = peak_memory_mib(command, environment)
            else:
                result.costs.append(timed(command, environment))
    return results


def line(name: str, target: float, restic: Measured, limpet: Measured) -> str:
    """The row of what was measured; `target` is the wall ratio to reach."""

    def shown(one: Measured) -> str:
        return f"{one.wall_s:.2f} s / {one.cpu_s:.2f} s / {one.memory_mib:.0f} MiB"

    return (
        f"| {name} | {shown(restic)} | {shown(limpet)} | **{limpet.wall_s / restic.wall_s:.2f}** "
        f"| {limpet.cpu_s / restic.cpu_s:.2f} | {limpet.memory_mib / restic.memory_mib:.2f} | {target:.2f} |"
    )


def heading(binaries: dict[str, str], where: str) -> Sequence[str]:
    """What was measured, on what and when, and the head of the table."""
    versions = [" ".join(_run([binary, "version"]).split()[:2]) for binary in binaries.values()]
    cpus = len(os.sched_getaffinity(0))
    return [
        f"Measured on {date.today().isoformat()}: {versions[0]} and {versions[1]}, "
        f"Python {platform.python_version()}, {cpus} processors, Linux "
        f"{platform.release().split('-')[0]}, {where}. Ratios are Limpet / restic: below 1 is better.",
        "",
        "| job | restic wall / CPU / memory | Limpet wall / CPU / memory | wall | CPU | memory | to reach |",
        "|---|---|---|---|---|---|---|",
    ]


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_table(path: Path, table: str, mark: str) -> None:
    """Put the table between the marks of that name in a Markdown file."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
