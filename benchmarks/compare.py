"""Limpet beside restic, alternately, in one run and at equal safety: both verify before upload, both fsync.

    python benchmarks/compare.py --restic PATH [--data FOLDER] [--rounds 3] [--only big,small] [--write README.md]

Prints a table of wall seconds, processor seconds and peak memory with their ratios (below 1: Limpet is faster or
smaller), and puts it between the marks in the README.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from datasets import DATA_SETS, build
from measure import Cost, peak_memory_mib, timed

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
TOOLS = ("restic", "limpet")


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to compare. `prepare` and `command` get the tool's binary, repository and scratch folder."""

    name: str
    target: float
    command: Callable[[str, Path, Path], list[str]]
    prepare: Callable[[str, Path, Path], None]


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
    binaries = {"restic": arguments.restic, "limpet": arguments.limpet}
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir=arguments.scratch) as scratch:
        wanted = [name for name in DATA_SETS if not arguments.only or name in arguments.only.split(",")]
        data = build(arguments.data, wanted)
        environment = dict(os.environ, RESTIC_PASSWORD="benchmark", LIMPET_PASSWORD="benchmark")
        lines = list(_table(binaries, data, Path(scratch), environment, arguments.rounds))
    table = "\n".join([*_heading(binaries), *lines])
    print(table)
    if arguments.write:
        _write(arguments.write, table)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restic", required=True, help="restic 0.19.1")
    parser.add_argument("--limpet", default=shutil.which("limpet") or str(Path(sys.executable).with_name("limpet")))
    parser.add_argument("--data", type=Path, default=Path(".cache/bench-data"))
    parser.add_argument("--scratch", type=Path, default=None, help="where repositories go while it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="data sets, with commas between")
    parser.add_argument("--write", type=Path, help="a Markdown file with marks for the table")
    return parser.parse_args()


def _table(
    binaries: dict[str, str], data: dict[str, Path], scratch: Path, environment: dict[str, str], rounds: int
) -> Iterator[str]:
    yield "| job | restic wall / CPU / memory | Limpet wall / CPU / memory | wall | CPU | memory | to reach |"
    yield "|---|---|---|---|---|---|---|"
    for job in _jobs(data):
        results = _measure(job, binaries, scratch, environment, rounds)
        line = _line(job, results["restic"], results["limpet"])
        print(line, file=sys.stderr, flush=True)
        yield line


def _jobs(data: dict[str, Path]) -> Iterator[Job]:
    backup_targets = {"big": 0.50, "mixed": 0.55, "small": 0.65, "image": 0.70}
    for name, folder in data.items():
        yield Job(f"first backup, {name}", backup_targets[name], _backup_of(folder), _init)
    if "small" in data:
        yield Job("backup, small unchanged", 0.60, _backup_of(data["small"]), _once(_backup_of(data["small"])))
    for name, target in (("big", 0.75), ("small", 1.0)):
        if name in data:
            yield Job(f"restore, {name}", target, _restore, _restorable(data[name]))
    for name in ("big", "small"):
        if name in data:
            yield Job(f"check --read-data, {name}", 1.0, _check, _once(_backup_of(data[name])))


def _backup_of(folder: Path) -> Callable[[str, Path, Path], list[str]]:
    return lambda binary, repository, _: [binary, "-r", str(repository), "-q", "--no-cache", "backup", str(folder)]


def _restore(binary: str, repository: Path, scratch: Path) -> list[str]:
    target = str(scratch / "restored")
    return [binary, "-r", str(repository), "-q", "--no-cache", "restore", "latest", "--target", target]


def _check(binary: str, repository: Path, _: Path) -> list[str]:
    return [binary, "-r", str(repository), "-q", "--no-cache", "check", "--read-data"]


def _init(binary: str, repository: Path, _: Path) -> None:
    shutil.rmtree(repository, ignore_errors=True)
    _run([binary, "-r", str(repository), "-q", "init"])


def _once(command: Callable[[str, Path, Path], list[str]]) -> Callable[[str, Path, Path], None]:
    """The repository is made in the first round and used in all."""

    def prepare(binary: str, repository: Path, scratch: Path) -> None:
        if not repository.exists():
            _init(binary, repository, scratch)
            _run(command(binary, repository, scratch))

    return prepare


def _restorable(folder: Path) -> Callable[[str, Path, Path], None]:
    backed_up = _once(_backup_of(folder))

    def prepare(binary: str, repository: Path, scratch: Path) -> None:
        backed_up(binary, repository, scratch)
        shutil.rmtree(scratch / "restored", ignore_errors=True)

    return prepare


def _measure(
    job: Job, binaries: dict[str, str], scratch: Path, environment: dict[str, str], rounds: int
) -> dict[str, Measured]:
    os.environ.update(environment)
    results = {tool: Measured() for tool in TOOLS}
    for number in range(rounds + 1):
        for tool in TOOLS if number % 2 == 0 else TOOLS[::-1]:
            folder = scratch / tool
            folder.mkdir(exist_ok=True)
            job.prepare(binaries[tool], folder / "repository", folder)
            os.sync()
            command = job.command(binaries[tool], folder / "repository", folder)
            if number == rounds:
                results[tool].memory_mib = peak_memory_mib(command, environment)
            else:
                results[tool].costs.append(timed(command, environment))
    for tool in TOOLS:
        shutil.rmtree(scratch / tool)
    return results


def _line(job: Job, restic: Measured, limpet: Measured) -> str:
    def shown(one: Measured) -> str:
        return f"{one.wall_s:.2f} s / {one.cpu_s:.2f} s / {one.memory_mib:.0f} MiB"

    return (
        f"| {job.name} | {shown(restic)} | {shown(limpet)} | **{limpet.wall_s / restic.wall_s:.2f}** "
        f"| {limpet.cpu_s / restic.cpu_s:.2f} | {limpet.memory_mib / restic.memory_mib:.2f} | {job.target:.2f} |"
    )


def _heading(binaries: dict[str, str]) -> Sequence[str]:
    versions = [_run([binary, "version"]).splitlines()[0] for binary in binaries.values()]
    cpus = len(os.sched_getaffinity(0))
    return [
        f"Measured on {date.today().isoformat()}: {versions[0].split(' compiled')[0]} and "
        f"{versions[1].split(' running')[0]}, Python {platform.python_version()}, {cpus} processors, Linux "
        f"{platform.release().split('-')[0]}, one local file system. Ratios are Limpet / restic: below 1 is better.",
        "",
    ]


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _write(path: Path, table: str) -> None:
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
