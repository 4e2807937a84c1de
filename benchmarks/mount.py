"""`limpet mount` beside `restic mount`: the same repository, the same reader, alternately in one run.

    python benchmarks/mount.py --restic PATH [--rounds 3] [--jobs REGEX] [--round-trips 0,20] [--write docs/mount.md]

Each round is a new mount, so that the kernel has no page and no name of it yet; measured is what the reader takes from
its start to its end, and the memory and processor time of the mounting program. Prints a table like `compare.py`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the server and the mounts are those of the tests

from compare import Measured, heading, line, write_table  # noqa: E402
from datasets import MIB, build  # noqa: E402
from jobs import PASSWORD  # noqa: E402
from measure import Cost, timed  # noqa: E402
from remote import delayed  # noqa: E402

from tests.mount.mounting import is_mounted  # noqa: E402
from tests.services.rest_server import RestServer  # noqa: E402

SETS = ("big", "small", "few")
MANY_ENTRIES = 100_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
RANDOM_READS = """
import os, random, sys
draw, file = random.Random(6), os.open(sys.argv[1], os.O_RDONLY)
size, count = os.fstat(file).st_size, int(sys.argv[2])
for _ in range(count):
    assert len(os.pread(file, 4096, draw.randrange(size // 4096) * 4096)) == 4096
"""
"""Pages of a file in an order that is the same each time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader does in the mount: its command from the folder of the snapshot."""

    name: str
    data: str
    command: Callable[[Path], Sequence[str | Path]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the repositories are: what goes before the name of each, and before the titles of the rows."""

    location: str
    title: str


def readings() -> Iterator[Reading]:
    """All that is measured."""
    yield Reading("sequential read, 1 GiB", "big", lambda root: ["cat", root / "random0.bin"])
    yield Reading(
        "4 readers at once, 2 GiB", "big", lambda root: ["sh", "-c", f"for f in {root}/*; do cat $f & done; wait"]
    )
    yield Reading("2,000 random reads of 4 KiB in 1 GiB", "big", _random("random0.bin", 2000))
    yield Reading("20,000 random reads of 4 KiB in 32 MiB", "entries", _random("cached.bin", 20_000))
    yield Reading("listing of 100,000 entries", "entries", lambda root: ["ls", "-f", root / "many"])
    yield Reading("the same with ls -l", "entries", lambda root: ["ls", "-lU", root / "many"])
    yield Reading("find -size, 80,000 files", "small", lambda root: ["find", root, "-size", "+100k"])
    yield Reading("find -newer, 80,000 files", "small", lambda root: ["find", root, "-newer", root])
    yield Reading("find -type f, 80,000 files", "small", lambda root: ["find", root, "-type", "f"])
    yield Reading("all of 20,000 small files", "few", _shell("tar -cf - . | cat"))


def distant_readings() -> Iterator[Reading]:
    """What is measured over a line."""
    yield Reading("sequential read, 256 MiB", "big", lambda root: ["cat", root / "random3.bin"])
    yield Reading("100 random reads of 4 KiB in 1 GiB", "big", _random("random0.bin", 100))
    yield Reading("find -size, 20,000 files", "few", lambda root: ["find", root, "-size", "+100k"])
    yield Reading("all of 20,000 small files", "few", _shell("tar -cf - . | cat"))


def _shell(script: str) -> Callable[[Path], Sequence[str | Path]]:
    return lambda root: ["sh", "-c", f"cd '{root}' && {script}"]


def _random(name: str, count: int) -> Callable[[Path], Sequence[str | Path]]:
    return lambda root: [sys.executable, "-S", "-c", RANDOM_READS, root / name, str(count)]


def build_entries(folder: Path) -> Path:
    """A folder with 100,000 files, and a file that fits into every cache."""
    many = folder / "entries" / "many"
    if not many.exists():
        shutil.rmtree(folder / "entries", ignore_errors=True)
        partial = folder / "entries" / "partial"
        partial.mkdir(parents=True)
        for number in range(MANY_ENTRIES):
            os.close(os.open(partial / f"entry {number}", os.O_CREAT))
        (folder / "entries" / "cached.bin").write_bytes(os.urandom(32 * MIB))
        partial.rename(many)
    return many.parent.resolve()


class Mounting:
    """One of the two programs and its mounts of the repositories."""

    def __init__(self, binary: str, scratch: Path) -> None:
        self._binary = binary
        self._point = scratch / "point"
        self._point.mkdir(parents=True)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "RESTIC_PASSWORD": PASSWORD,
            "LIMPET_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(scratch / "cache"),
            "LIMPET_CACHE_DIR": str(scratch / "cache"),
        }

    def measure(self, place: str, source: Path, reading: Reading) -> tuple[Cost, float]:
        """Seconds of the reader, processor seconds and peak MiB of the program that mounts."""
        with self._mounted(place + reading.data) as process:
            root = self._point / "snapshots" / "latest" / str(source).lstrip("/")
            reader = timed([str(word) for word in reading.command(root)], self._environment)
            return Cost(reader.wall_s, _cpu_s(process.pid)), _peak_mib(process.pid)

    @contextmanager
    def _mounted(self, location: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [self._binary, "-q", "-r", location, "mount", str(self._point)]
        with subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL) as process:
            try:
                while not is_mounted(self._point):
                    assert process.poll() is None, "it was not mounted"
                    time.sleep(0.01)
                os.listdir(self._point / "snapshots")
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.wait()


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def compare(tools: Mapping[str, Mounting], place: Place, source: Path, reading: Reading, rounds: int) -> str:
    """A row of the table, also shown at once. The first round is not counted: it fills the programs' own caches."""
    results = {name: Measured() for name in tools}
    for number in range(rounds + 1):
        for name in list(tools) if number % 2 == 0 else list(tools)[::-1]:
            cost, memory_mib = tools[name].measure(place.location, source, reading)
            if number:
                results[name].costs.append(cost)
                results[name].memory_mib = max(results[name].memory_mib, memory_mib)
    row = line(place.title + reading.name, 1.0, results["restic"], results["limpet"])
    print(row, file=sys.stderr, flush=True)
    return row


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    binaries = {"restic": arguments.restic, "limpet": arguments.limpet}
    os.environ.update(RESTIC_PASSWORD=PASSWORD)
    data = {**build(arguments.data, SETS), "entries": build_entries(arguments.data)}
    rows = []
    with tempfile.TemporaryDirectory(prefix="limpet-bench-", dir=arguments.scratch) as scratch, ExitStack() as stack:
        server = RestServer(Path(scratch))
        stack.callback(server.close)
        for round_trip_ms in map(int, arguments.round_trips.split(",")):
            port = stack.enter_context(delayed(server.port, round_trip_ms))
            place = Place(f"{server.data}/", "")
            if round_trip_ms:
                place = Place(f"rest:http://127.0.0.1:{port}/", f"REST, {round_trip_ms} ms: ")
            tools = {name: Mounting(binary, Path(scratch, f"{name}-{port}")) for name, binary in binaries.items()}
            for reading in distant_readings() if round_trip_ms else readings():
                if re.search(arguments.jobs, place.title + reading.name):
                    _back_up(arguments.restic, server.data / reading.data, data[reading.data])
                    rows.append(compare(tools, place, data[reading.data], reading, arguments.rounds))
    table = "\n".join(
        [*heading(binaries, "one local file system, or REST over loopback with this much latency"), *rows]
    )
    print(table)
    if arguments.write:
        write_table(arguments.write, table, "mount benchmark")
    return 0


def _back_up(restic: str, repository: Path, source: Path) -> None:
    """By restic, for both programs, once."""
    if repository.exists():
        return
    for command in (["init"], ["backup", str(source)]):
        subprocess.run([restic, "--no-cache", "-q", "-r", str(repository), *command], check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restic", required=True, help="restic 0.19.1")
    parser.add_argument("--limpet", default=shutil.which("limpet") or str(Path(sys.executable).with_name("limpet")))
    parser.add_argument("--data", type=Path, default=Path(".cache/bench-data"))
    parser.add_argument("--scratch", type=Path, default=None, help="where repositories go while it runs")
    parser.add_argument("--round-trips", default="0,20", help="milliseconds, with commas between; 0: no server")
    parser.add_argument("--jobs", default="", help="a regular expression: only jobs whose names match")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="a Markdown file with marks for the table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
