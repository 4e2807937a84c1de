"""Compares how Limpet and restic load a large index: wall time, CPU time and peak memory, side by side.

    python benchmarks/index_load.py --blobs 10000000 --restic /usr/bin/restic

Builds a repository that consists of index files only, seeded, and removes it afterwards (55 bytes of disk a blob).
restic loads the index for `stats --mode raw-data`, which without snapshots does nothing else; Limpet opens the
repository and loads the index. Both alternate, each run a process of its own; the table shows each one's best run.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters, new_salt
from limpet.repository.repository import Repository
from limpet_backend_local import LocalBackend

PASSWORD = "benchmark"
BLOBS_PER_INDEX = 50_000
BLOBS_PER_PACK = 20
TREE_PACK_EVERY = 10

_BLOB = b'{"id":"%b","type":"%b","offset":%d,"length":%d,"uncompressed_length":%d}'
_PACK = b'{"id":"%b","blobs":[%b]}'

LOAD_BY_LIMPET = """
import sys
from limpet.repository.repository import Repository
from limpet_backend_local import LocalBackend
repository = Repository.open(LocalBackend(sys.argv[1]), sys.argv[2])
repository.load_index()
print(len(repository.index))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def main() -> None:
    """Builds, measures, prints, removes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blobs", type=int, default=1_000_000)
    parser.add_argument("--restic", default=os.environ.get("LIMPET_RESTIC") or shutil.which("restic") or "restic")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", help="where the repository is built for the time; default: the temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="limpet-index-", dir=arguments.folder) as folder:
        root = Path(folder) / "repository"
        build(root, arguments.blobs)
        compare(root, arguments.blobs, arguments.restic, arguments.rounds)


def build(root: Path, blobs: int) -> None:
    """A repository with a key of least cost and the index of `blobs` blobs."""
    started = time.monotonic()
    kdf = KdfParameters(2, 1, 1, new_salt())
    with Repository.create(LocalBackend(str(root)), PASSWORD, kdf=kdf) as repository:
        for json in index_files(blobs):
            repository.save_unpacked(FileKind.INDEX, json)
    size_bytes = sum(path.stat().st_size for path in (root / "index").iterdir())
    print(f"built an index of {blobs} blobs, {size_bytes / 1e6:.0f} MB, in {time.monotonic() - started:.0f} s")


def index_files(blobs: int, seed: int = 1) -> Iterator[bytes]:
    """The JSON of index files that together name `blobs` blobs in packs of 20."""
    chance = random.Random(seed)
    for start in range(0, blobs, BLOBS_PER_INDEX):
        packs = []
        end = min(start + BLOBS_PER_INDEX, blobs)
        for first in range(start, end, BLOBS_PER_PACK):
            word = b"tree" if first // BLOBS_PER_PACK % TREE_PACK_EVERY == 0 else b"data"
            packs.append(_pack(chance, word, min(BLOBS_PER_PACK, end - first)))
        yield b'{"packs":[' + b",".join(packs) + b"]}\n"


def _pack(chance: random.Random, word: bytes, count: int) -> bytes:
    ids = chance.randbytes(32 * (count + 1)).hex().encode("ascii")
    offset_bytes = 0
    blobs = []
    for number in range(1, count + 1):
        length_bytes = chance.randrange(400_000, 1_400_000)
        blob_id = ids[64 * number : 64 * number + 64]
        blobs.append(_BLOB % (blob_id, word, offset_bytes, length_bytes, length_bytes * 3 // 2))
        offset_bytes += length_bytes
    return _PACK % (ids[:64], b",".join(blobs))


def compare(root: Path, blobs: int, restic: str, rounds: int) -> None:
    """Prints the table."""
    commands = {
        "restic": [restic, "--no-cache", "--no-lock", "--quiet", "-r", str(root), "stats", "--mode", "raw-data"],
        "limpet": [sys.executable, "-c", LOAD_BY_LIMPET, str(root), PASSWORD],
    }
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(measure(command))
    best = {
        name: Cost(min(c.wall_s for c in runs), min(c.cpu_s for c in runs), min(c.peak_bytes for c in runs))
        for name, runs in costs.items()
    }
    version = subprocess.run([restic, "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    print(f"index of {blobs} blobs, best of {rounds} runs each")
    print(f"{'':16}{'wall s':>10}{'CPU s':>10}{'peak MB':>10}")
    for name, label in (("restic", f"restic {version}"), ("limpet", "Limpet")):
        cost = best[name]
        print(f"{label:16}{cost.wall_s:10.2f}{cost.cpu_s:10.2f}{cost.peak_bytes / 1e6:10.0f}")
    ours, theirs = best["limpet"], best["restic"]
    ratios = (ours.wall_s / theirs.wall_s, ours.cpu_s / theirs.cpu_s, ours.peak_bytes / theirs.peak_bytes)
    print("ratio           " + "".join(f"{ratio:10.2f}" for ratio in ratios))


def measure(command: list[str]) -> Cost:
    """The cost of the command, which must succeed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "LIMPET_"))}
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**kept, "RESTIC_PASSWORD": PASSWORD})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Cost(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    main()
