"""`limpet serve` beside rest-server: the same clients on the same disk, alternately in one run.

    python benchmarks/serve.py --rest-server PATH --restic PATH [--clients 1,8] [--rounds 3] [--write FILE]

Each client has a repository of its own. Prints, for either server, the seconds all clients took together, the
server's processor seconds and its peak memory (VmHWM), and the ratios. A server is started anew for each run.
`--servers rest-server,rest-server` measures one against itself: the noise.
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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from compare import write_table
from datasets import build
from jobs import PASSWORD
from rest_load import MIB, Load
from served import ServerCost, ServerUnderTest, served

SETS = ("mixed", "few")
BODIES = 32
"""Of 16 MiB each, for the server without a client's work around it."""
THROUGHPUT, MEMORY = 0.9, 1.5
"""The ratios to reach."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two servers, with a folder of its own."""

    name: str
    program: Sequence[str]
    folder: Path


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run."""

    wall_s: float
    server: ServerCost


@dataclass(frozen=True, slots=True)
class Job:
    """What clients do with a server: `prepare` before the clock starts, `work` against the running server."""

    name: str
    prepare: Callable[[Path], None]
    """Of the server's folder."""
    work: Callable[[ServerUnderTest], float]
    """The seconds it took."""


@dataclass(frozen=True, slots=True)
class Clients:
    """A number of runs of one program at once, each with a repository of its own."""

    program: str
    count: int
    data: Path
    targets: Path
    """Where they restore to."""
    has_caches: bool = False
    """One each, empty at first. Without them the server has all the work there is."""

    def start(self, port: int, number: int, *arguments: str | Path) -> subprocess.Popen[bytes]:
        """One of them, running."""
        location = f"rest:http://127.0.0.1:{port}/client-{number}/"
        cache = ["--cache-dir", self._cache(number)] if self.has_caches else ["--no-cache"]
        command = [self.program, "-r", location, "-q", *map(str, [*cache, *arguments])]
        return subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def back_up(self, server: ServerUnderTest) -> float:
        """Into repositories that are made before the clock starts."""
        self._all([self.start(server.port, number, "init") for number in range(self.count)])
        os.sync()
        started = time.monotonic()
        self._all([self.start(server.port, number, "backup", self.data) for number in range(self.count)])
        wall_s = time.monotonic() - started
        self._forget_caches()
        return wall_s

    def restore(self, server: ServerUnderTest) -> float:
        """What `keep` has prepared."""
        targets = [self.targets / f"limpet-bench-restored-{number}" for number in range(self.count)]
        started = time.monotonic()
        runs = [
            self.start(server.port, number, "restore", "latest", "--target", target)
            for number, target in enumerate(targets)
        ]
        self._all(runs)
        wall_s = time.monotonic() - started
        for target in targets:
            shutil.rmtree(target)
        self._forget_caches()
        return wall_s

    def keep(self, repositories: Path, program: Sequence[str]) -> None:
        """One repository with the data, and the rest as its copies; their packs are linked, for nobody changes them."""
        with served(program, repositories) as server:
            self._all([self.start(server.port, 0, "init")])
            self._all([self.start(server.port, 0, "backup", self.data)])
        self._forget_caches()
        for number in range(1, self.count):
            shutil.copytree(repositories / "client-0", repositories / f"client-{number}", copy_function=os.link)

    def _cache(self, number: int) -> Path:
        return self.targets / f"limpet-bench-cache-{number}"

    def _forget_caches(self) -> None:
        for number in range(self.count):
            shutil.rmtree(self._cache(number), ignore_errors=True)

    @staticmethod
    def _all(runs: Sequence[subprocess.Popen[bytes]]) -> None:
        """Wait for them; CalledProcessError for one that failed."""
        for run in runs:
            _, errors = run.communicate()
            if run.returncode:
                raise subprocess.CalledProcessError(run.returncode, run.args, stderr=errors)


def client_jobs(clients: Clients, kept: Path, program: Sequence[str], name: str) -> Iterator[Job]:
    """Back up into new repositories; restore from such as either server serves in turn."""
    yield Job(f"{name}: backup", lambda folder: None, clients.back_up)

    def prepare(folder: Path) -> None:
        if not kept.exists():
            kept.mkdir()
            clients.keep(kept, program)
        shutil.copytree(kept, folder, copy_function=os.link, dirs_exist_ok=True)

    yield Job(f"{name}: restore", prepare, clients.restore)
    shutil.rmtree(kept, ignore_errors=True)


def raw_jobs(counts: Sequence[int]) -> Iterator[Job]:
    """Bodies alone: uploads, then downloads of what was uploaded."""
    load = Load(BODIES)
    for count in counts:
        name = f"{load.size_bytes // MIB} MiB in bodies of 16 MiB, {_many(count, 'connection')}"
        yield Job(f"{name}: upload", lambda folder: None, partial(_upload, load, count))
        yield Job(f"{name}: download", load.store, partial(_download, load, count))


def _upload(load: Load, connections: int, server: ServerUnderTest) -> float:
    return load.upload(server.port, connections)


def _download(load: Load, connections: int, server: ServerUnderTest) -> float:
    return load.download(server.port, connections)


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    programs = {"rest-server": [arguments.rest_server], "limpet": [arguments.limpet, "serve"]}
    names = arguments.servers.split(",")
    counts = [int(count) for count in arguments.clients.split(",")]
    lines = []
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir=arguments.scratch) as made:
        scratch = Path(made)
        sides = [Side(name, programs[name], scratch / str(number)) for number, name in enumerate(names)]
        for job in _jobs(arguments, counts, scratch, programs[names[0]]):
            lines.append(_row(job, sides, arguments.rounds))
            print(lines[-1], file=sys.stderr, flush=True)
    table = "\n".join([*_heading(arguments, names), *lines])
    print(table)
    if arguments.write:
        write_table(arguments.write, table, "serve benchmark")
    return 0


def _jobs(arguments: argparse.Namespace, counts: Sequence[int], scratch: Path, program: Sequence[str]) -> Iterator[Job]:
    if not arguments.no_raw:
        yield from raw_jobs(counts)
    data = build(arguments.data, filter(None, arguments.only.split(",")))
    clients = {"restic": arguments.restic, "limpet": arguments.limpet}
    for set_name, folder in data.items():
        for client in arguments.programs.split(","):
            for count in counts:
                group = Clients(clients[client], count, folder, arguments.targets or scratch, arguments.caches)
                name = f"{set_name}, {_many(count, client)}{' with a cache' if arguments.caches else ''}"
                yield from client_jobs(group, scratch / "kept", program, name)


def _row(job: Job, sides: Sequence[Side], rounds: int) -> str:
    runs: list[list[Run]] = [[], []]
    for number in range(rounds):
        for side, measured in list(zip(sides, runs, strict=True))[:: 1 if number % 2 == 0 else -1]:
            measured.append(_run(job, side))
    (wall, cpu, memory), (our_wall, our_cpu, our_memory) = map(_medians, runs)
    return (
        f"| {job.name} | {wall:.2f} s / {cpu:.2f} s / {memory:.1f} MiB | {our_wall:.2f} s / {our_cpu:.2f} s"
        f" / {our_memory:.1f} MiB | **{wall / our_wall:.2f}** | {our_cpu / max(cpu, 0.01):.2f}"
        f" | **{our_memory / memory:.2f}** |"
    )


def _run(job: Job, side: Side) -> Run:
    side.folder.mkdir()
    try:
        job.prepare(side.folder)
        os.sync()
        with served(side.program, side.folder) as server:
            wall_s = job.work(server)
            return Run(wall_s, server.cost())
    finally:
        shutil.rmtree(side.folder)


def _medians(runs: Sequence[Run]) -> tuple[float, float, float]:
    return (
        statistics.median(run.wall_s for run in runs),
        statistics.median(run.server.cpu_s for run in runs),
        statistics.median(run.server.memory_mib for run in runs),
    )


def _heading(arguments: argparse.Namespace, names: Sequence[str]) -> Sequence[str]:
    first, second = names
    versions = [_version(arguments.rest_server, "--version"), _version(arguments.restic, "version")]
    return [
        f"Measured on {date.today().isoformat()}: rest-server {versions[0]} beside `limpet serve`, with restic"
        f" {versions[1]} and Limpet as clients, Python {platform.python_version()}, {len(os.sched_getaffinity(0))}"
        f" processors, Linux {platform.release().split('-')[0]}, one file system, loopback; medians of"
        f" {arguments.rounds} alternating rounds. Throughput above 1: Limpet is faster (to reach: {THROUGHPUT}); CPU"
        f" and memory below 1: it takes less (memory to reach: {MEMORY}).",
        "",
        f"| job | {first}: wall / its CPU / its peak memory | {second}: wall / its CPU / its peak memory"
        " | throughput | CPU | memory |",
        "|---|---|---|---|---|---|",
    ]


def _version(program: str, flag: str) -> str:
    """The first word of what it says that begins with a digit."""
    said = subprocess.run([program, flag], check=True, capture_output=True, text=True).stdout
    return next(word for word in said.split() if word[0].isdigit())


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**own, "RESTIC_PASSWORD": PASSWORD, "LIMPET_PASSWORD": PASSWORD}


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count > 1 and what == "connection" else "")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rest-server", required=True, help="rest-server 0.14")
    parser.add_argument("--restic", required=True, help="restic 0.19.1")
    parser.add_argument("--limpet", default=shutil.which("limpet") or str(Path(sys.executable).with_name("limpet")))
    parser.add_argument("--data", type=Path, default=Path(".cache/bench-data"))
    parser.add_argument("--scratch", type=Path, default=None, help="where repositories go while it runs")
    parser.add_argument("--targets", type=Path, help="where clients restore to; in memory it is less work of theirs")
    parser.add_argument("--servers", default="rest-server,limpet", help="the two to compare")
    parser.add_argument("--clients", default="1,8", help="how many at once, with commas between")
    parser.add_argument("--programs", default="restic,limpet", help="the clients, with commas between")
    parser.add_argument("--only", default=",".join(SETS), help="data sets, with commas between")
    parser.add_argument("--no-raw", action="store_true", help="only whole clients, no bare uploads and downloads")
    parser.add_argument("--caches", action="store_true", help="the clients have caches, empty at first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="a Markdown file with marks for the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
