"""A backup that is stopped in the middle while others go on: once its lock is gone it writes nothing that counts."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from limpet.testing.restic import Restic

from tests.safety.program import PASSWORD, Running
from tests.safety.scene import Scene

SMALL_PACKS = ("--pack-size", "4")
SLEEPER = Path(__file__).with_name("sleeper.py")
HOUR_S = 3600


def test_lock_removed_while_stopped(scene: Scene, restic_new: Restic) -> None:
    """After `unlock --remove-all` and `prune` a resumed backup must not save a snapshot of packs that are gone."""
    backup = scene.site.start(*SMALL_PACKS, "backup", *scene.held)
    _stop_when_packs_are_stored(scene, backup)
    restic_new.run("unlock", "--remove-all", repo=scene.site.repository, password=PASSWORD)
    restic_new.run("prune", repo=scene.site.repository, password=PASSWORD)
    _assert_writes_nothing_that_counts(scene, backup)
    scene.judge(restic_new)


def test_asleep_for_an_hour_and_the_lock_removed_as_stale(scene: Scene, restic_new: Restic) -> None:
    """A laptop that wakes up after others have rightly removed its lock must find out before it writes anything."""
    backup, clock = _start_sleeper(scene)
    _stop_when_packs_are_stored(scene, backup)
    clock.write_text(str(HOUR_S))
    restic_new.run("unlock", "--remove-all", repo=scene.site.repository, password=PASSWORD)
    restic_new.run("prune", repo=scene.site.repository, password=PASSWORD)
    packs = scene.site.files("data")
    _assert_writes_nothing_that_counts(scene, backup)
    in_flight = 2  # one for each connection: these had begun before the sleep
    assert len(scene.site.files("data") - packs) <= in_flight, "packs were written although an hour had gone"
    scene.judge(restic_new)


def test_asleep_for_an_hour_with_the_lock_still_there(scene: Scene, restic_new: Restic) -> None:
    """If nobody was there meanwhile the backup goes on under a fresh lock: an hour of sleep is no failure."""
    backup, clock = _start_sleeper(scene)
    _stop_when_packs_are_stored(scene, backup)
    (lock,) = scene.site.files("locks")
    clock.write_text(str(HOUR_S))
    backup.signal_group(signal.SIGCONT)
    backup.wait_until(lambda: bool(locks := scene.site.files("locks")) and lock not in locks, "the lock is fresh")
    scene.release()
    ended = backup.end()
    assert ended.code == 0, ended.err
    scene.judge(restic_new, snapshots=2)


def _start_sleeper(scene: Scene) -> tuple[Running, Path]:
    """A backup whose clock is the real one plus the seconds in a file."""
    clock = scene.site.folder / "clock"
    clock.write_text("0")
    command: list[str | Path] = [sys.executable, SLEEPER, scene.site.repository, PASSWORD, clock, *scene.held]
    return scene.site.start_program(command), clock


def _stop_when_packs_are_stored(scene: Scene, backup: Running) -> None:
    before = len(scene.site.files("data"))
    backup.wait_until(lambda: len(scene.site.files("data")) > before + 2, "packs are stored")
    backup.signal_group(signal.SIGSTOP)


def _assert_writes_nothing_that_counts(scene: Scene, backup: Running) -> None:
    indexes, snapshots = scene.site.files("index"), scene.site.files("snapshots")
    scene.release()
    backup.signal_group(signal.SIGCONT)
    ended = backup.end()
    assert ended.code == 11, ended.err
    assert "the lock on the repository was lost" in ended.last_line
    assert scene.site.files("index") == indexes
    assert scene.site.files("snapshots") == snapshots
    backup.assert_none_survives()
