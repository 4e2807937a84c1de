"""Histories of snapshots and policies, drawn at random: for comparing decisions with restic's."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet import registry
from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import NS_PER_S, Time, local_offset
from limpet.ids import BlobId
from limpet.operations.retention import UNLIMITED
from limpet.repository.repository import Repository

PASSWORD = "histories"
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
    "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Kiritimati", "Europe/London",
]  # fmt: skip
STEPS_S = [60, 900, 3600, 4000, 10_800, 43_200, 86_400, 90_000, 604_800, 2_000_000, 2_678_400, 31_536_000]
EDGES_S = [
    1_711_846_800, 1_729_990_800,  # Europe changes its clocks in 2024
    1_709_164_800, 1_583_020_800,  # a 29 February
    1_735_603_200, 1_609_459_200, 1_230_768_000,  # a year ends inside an ISO week
    951_782_400, 1_699_164_000, 1_325_239_200,
]  # fmt: skip
TAGS = ["a", "b", "keep", "x y", "ü"]
COUNTS = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]
SPANS = ["within", "within-hourly", "within-daily", "within-weekly", "within-monthly", "within-yearly"]


@dataclass(frozen=True, slots=True)
class History:
    """Snapshots, and the local zone of the machine that forgets them."""

    zone: str
    snapshots: Sequence[Snapshot]


def draw_history(chance: random.Random, zone: str) -> History:
    """A history of 1 to 60 snapshots. The process's local zone has to be `zone`.

    Of snapshots of the same time all is equal but what restic and we do not look at: it reads them in any order.
    """
    steps = chance.sample(STEPS_S, chance.randint(1, 3))
    second = chance.choice([*EDGES_S, int(time.time()), chance.randint(0, 2_000_000_000)])
    hosts, paths = chance.sample(["h1", "h2", "ö"], chance.randint(1, 2)), [["/a"], ["/b", "/a"], ["/a", "/b"], ["/ü"]]
    path_choice = chance.sample(paths, chance.randint(1, 3))
    tag_choice = [chance.sample(TAGS, chance.randint(0, 2)) for _ in range(chance.randint(1, 4))]
    snapshots: list[Snapshot] = []
    for _ in range(chance.randint(1, 60)):
        snapshot = Snapshot(
            _moment(chance, second),
            BlobId(chance.randbytes(32)),
            list(chance.choice(path_choice)),
            hostname=chance.choice(hosts),
            tags=list(chance.choice(tag_choice)),
            program_version=chance.randbytes(4).hex(),
        )
        snapshots.append(snapshot)
        if chance.random() < 0.1:
            snapshots.append(
                Snapshot(snapshot.time, snapshot.tree, snapshot.paths, hostname=snapshot.hostname, tags=snapshot.tags)
            )
        second -= max(1, int(chance.choice(steps) * chance.choice([1, 1, 1, 0.5, 2, chance.random()])))
    chance.shuffle(snapshots)
    return History(zone, snapshots)


def _moment(chance: random.Random, second: int) -> Time:
    """Most written in the local zone, as restic does it, others elsewhere."""
    ns = second * NS_PER_S + chance.choice([0, 0, 1, 500_000_000, 999_999_999])
    if chance.random() < 0.75:
        return Time(ns, local_offset(second))
    return Time(ns, chance.choice([0, 3600, -18_000, 20_700, 50_400, -39_600, -12_600]))


def store(history: History, folder: Path) -> Repository:
    """A repository that holds these snapshots, and nothing else."""
    cheap = KdfParameters(n=2, r=1, p=1, salt=bytes(64))
    repository = Repository.create(registry.open_backend(str(folder)), PASSWORD, kdf=cheap)
    for snapshot in history.snapshots:
        repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    return repository


def draw_policy(chance: random.Random) -> dict[str, list[str]]:
    """Flags of forget without their dashes, each with its values."""
    flags: dict[str, list[str]] = {}
    for name in chance.sample(COUNTS, chance.choice([0, 1, 1, 2, 3, 6])):
        flags[f"keep-{name}"] = [chance.choice(["unlimited", *map(str, [1, 1, 2, 3, 5, 10, 30])])]
    for name in chance.sample(SPANS, chance.choice([0, 0, 1, 2, 6])):
        flags[f"keep-{name}"] = [_draw_span(chance)]
    if chance.random() < 0.3 or not flags:
        groups = chance.sample([*TAGS, "", "a,b", "a,", ",a", "nobody has it"], chance.randint(1, 2))
        flags["keep-tag"] = groups
    by = chance.sample(["host", "paths", "tags"], chance.randint(0, 3))
    flags["group-by"] = [",".join(by)]
    return flags


def _draw_span(chance: random.Random) -> str:
    parts = chance.sample([("y", 3), ("m", 15), ("d", 60), ("h", 60)], chance.randint(1, 3))
    return "".join(f"{chance.randint(1, most)}{unit}" for unit, most in parts)


def count_of(text: str) -> int:
    """What a count flag's value means."""
    return UNLIMITED if text == "unlimited" else int(text)
