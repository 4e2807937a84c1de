"""Limpet keeps and removes what restic keeps and removes, for the same reasons, whatever history and policy."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from limpet.format.timestamps import local_second, parse_time
from limpet.operations.retention import GroupDecision, LastSnapshotError, Policy, decide_groups, parse_span
from limpet.repository.repository import Repository
from limpet.repository.snapshots import GroupBy, load_snapshots
from limpet.testing.restic import Restic

from tests.retention.histories import COUNTS, PASSWORD, SPANS, ZONES, count_of, draw_history, draw_policy, store

POLICIES = 5
Answer = dict[tuple[str, tuple[str, ...], tuple[str, ...]], tuple[list[tuple[int, tuple[str, ...]]], list[int]]]
"""For each group what is kept, by time and reasons, and the times of what is removed."""

pytestmark = pytest.mark.interop


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The local zone of this process, for the length of a test."""
    name: str = ZONES[request.param % len(ZONES)]
    monkeypatch.setenv("TZ", name)
    time.tzset()
    local_second.cache_clear()
    yield name
    monkeypatch.undo()
    time.tzset()
    local_second.cache_clear()


def compare(restic: Restic, folder: Path, zone: str, seed: int) -> None:
    """One history, several policies."""
    chance = random.Random(seed)
    with store(draw_history(chance, zone), folder) as repository:
        for _ in range(POLICIES):
            flags = draw_policy(chance)
            assert ours(repository, flags) == theirs(restic, folder, flags), (seed, zone, flags)


def ours(repository: Repository, flags: Mapping[str, Sequence[str]]) -> Answer | None:
    """What the library decides; None if it refuses."""
    given: dict[str, Any] = {name: count_of(flags.get(f"keep-{name}", ["0"])[0]) for name in COUNTS}
    given |= {name.replace("-", "_"): parse_span(flags.get(f"keep-{name}", [""])[0]) for name in SPANS}
    tags = [[tag.strip() for tag in group.split(",")] for group in flags.get("keep-tag", [])]
    snapshots = load_snapshots(repository)
    try:
        decisions = decide_groups(
            snapshots, Policy(**given, tags=tags), GroupBy.parse(flags["group-by"][0]), now_ns=time.time_ns()
        )
    except LastSnapshotError:
        return None
    return {_key(one): _answer(one) for one in decisions}


def _key(decision: GroupDecision) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    group = decision.group
    return group.hostname, group.paths or (), group.tags or ()


def _answer(decision: GroupDecision) -> tuple[list[tuple[int, tuple[str, ...]]], list[int]]:
    return (
        sorted((kept.stored.time_ns, kept.reasons) for kept in decision.keep),
        sorted(stored.time_ns for stored in decision.remove),
    )


def theirs(restic: Restic, folder: Path, flags: Mapping[str, Sequence[str]]) -> Answer | None:
    """What restic decides; None if it refuses."""
    arguments = [f"--{name}={value}" for name, values in flags.items() for value in values]
    done = restic.run(
        "forget", "--json", "--dry-run", "--no-lock", *arguments, repo=folder, password=PASSWORD, check=False,
        env={"TZ": os.environ["TZ"]},
    )  # fmt: skip
    if done.returncode:
        assert b"refusing to delete last snapshot" in done.stderr, done.stderr
        return None
    return {
        (group["host"], tuple(group["paths"] or ()), tuple(group["tags"] or ())): (
            sorted((_ns(one["snapshot"]["time"]), tuple(one["matches"])) for one in group["reasons"] or ()),
            sorted(_ns(one["time"]) for one in group["remove"] or ()),
        )
        for group in json.loads(done.stdout)
    }


def _ns(text: str) -> int:
    return parse_time(text).ns


@pytest.mark.parametrize(("zone", "seed"), [(seed, seed) for seed in range(8)], indirect=["zone"])
def test_decisions(restic_new: Restic, tmp_path: Path, zone: str, seed: int) -> None:
    """A snapshot that restic would have kept must not be lost, nor one pile up that restic would have removed."""
    compare(restic_new, tmp_path / "repository", zone, seed)


@pytest.mark.long
@pytest.mark.parametrize(("zone", "seed"), [(seed, seed) for seed in range(100, 400)], indirect=["zone"])
def test_hundreds_of_decisions(restic_new: Restic, tmp_path: Path, zone: str, seed: int) -> None:
    """As above, for the rare meetings of clock changes, ends of years, equal times and rules."""
    compare(restic_new, tmp_path / "repository", zone, seed)
