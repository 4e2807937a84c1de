"""SIGKILL in the middle of a backup: nothing that was saved before suffers, nothing is left running."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.safety.files import digests
from tests.safety.program import PASSWORD, Running
from tests.safety.scene import Scene
from tests.safety.strace import ONE_CONNECTION, injected, killed

ROUNDS, LONG_ROUNDS = 6, 200
SMALL_PACKS = ("--pack-size", "4")
SURELY_REACHED = 6
"""So many calls of each kind are made by some thread of every backup here: more than one a pack."""


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_a_random_moment(scene: Scene, duration_s: float, restic_new: Restic, number: int) -> None:
    """A power cut must cost the backup that was running, and nothing else."""
    _killed_at_a_random_moment(scene, duration_s, restic_new, number, ROUNDS)


@pytest.mark.long
@pytest.mark.parametrize("number", range(LONG_ROUNDS))
def test_killed_at_a_random_moment_often(scene: Scene, duration_s: float, restic_new: Restic, number: int) -> None:
    """The same so often that every stretch of the run is hit."""
    _killed_at_a_random_moment(scene, duration_s, restic_new, number, LONG_ROUNDS)


def _killed_at_a_random_moment(scene: Scene, duration_s: float, restic: Restic, number: int, rounds: int) -> None:
    # Each round has its own part of the run's duration, so few rounds are spread as well as many.
    moment = duration_s * (number + random.Random(number).random()) / rounds
    backup = scene.site.start(*SMALL_PACKS, "backup", scene.source)
    time.sleep(max(0.0, backup.started + moment - time.monotonic()))
    if number % 2:
        backup.signal_parent(signal.SIGKILL)
    else:
        backup.signal_group(signal.SIGKILL)
    _assert_dead(backup)
    _assert_recovers(scene, restic, by_restic=number % 4 < 2)


@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
@pytest.mark.parametrize("at", [1, 3, 6])
def test_killed_at_a_system_call(scene: Scene, restic_new: Restic, call: str, at: int) -> None:
    """Between writing, syncing and naming a file are the moments that a careless order would not survive."""
    _killed_at_a_system_call(scene, restic_new, call, at)


@pytest.mark.long
@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
@pytest.mark.parametrize("at", range(4, 40))
def test_killed_at_every_system_call(scene: Scene, restic_new: Restic, call: str, at: int) -> None:
    """The same at each of them."""
    _killed_at_a_system_call(scene, restic_new, call, at)


def _killed_at_a_system_call(scene: Scene, restic: Restic, call: str, at: int) -> None:
    log = scene.site.folder / "strace"
    prefix = injected(call, f"signal=SIGKILL:when={at}", log=log)
    backup = scene.site.start(*SMALL_PACKS, *ONE_CONNECTION, "backup", scene.source, prefix=prefix)
    ended = backup.end()
    assert killed(log) or (at > SURELY_REACHED and ended.code == 0), ended.err
    backup.assert_none_survives()
    _assert_recovers(scene, restic, by_restic=at % 2 == 0, snapshots=None)


@pytest.mark.parametrize("kind", ["index", "snapshots", "locks"])
def test_killed_when_a_folder_is_synced(scene: Scene, restic_new: Restic, kind: str) -> None:
    """The file has its name and may yet not be on the disk: what it names must be there already."""
    log = scene.site.folder / "strace"
    folder = scene.site.repository / kind
    prefix = injected("fsync", "signal=SIGKILL:when=1", log=log, only=folder)
    backup = scene.site.start(*SMALL_PACKS, "backup", scene.source, prefix=prefix)
    ended = backup.end()
    assert killed(log), ended.err
    backup.assert_none_survives()
    _assert_recovers(scene, restic_new, by_restic=False, snapshots=None)


def test_worker_killed(scene: Scene, restic_new: Restic) -> None:
    """The kernel takes a worker when memory is short: that is an error in one line, not a hang, and not a snapshot."""
    backup = scene.site.start(*SMALL_PACKS, "backup", *scene.held)
    backup.wait_until(lambda: len(scene.site.files("data")) > 4, "packs are stored")
    worker = max(int(line.split()[0]) for line in backup.survivors())
    assert worker != backup.pid
    os.kill(worker, signal.SIGKILL)
    ended = backup.end(limit_s=60)
    assert ended.code == 1, ended.err
    assert "worker process died" in ended.last_line
    assert "Traceback" not in ended.err
    backup.assert_none_survives()
    scene.judge(restic_new)


def test_lock_of_the_dead_is_named_as_such(scene: Scene, restic_new: Restic) -> None:
    """Whoever finds the repository locked by a process that is gone must be told what removes the lock."""
    backup = scene.site.start(*SMALL_PACKS, "backup", *scene.held)
    backup.wait_until(lambda: bool(scene.site.files("locks")), "the lock is there")
    backup.signal_group(signal.SIGKILL)
    _assert_dead(backup)
    ended = scene.site.run("check", code=11)
    assert f"PID {backup.pid} " in ended.err
    assert "unlock" in ended.err
    assert "stale" in ended.err
    restic_new.run("unlock", repo=scene.site.repository, password=PASSWORD)
    scene.site.run("check")


def test_killed_restore_is_finished_by_the_next(scene: Scene, tmp_path: Path) -> None:
    """A restore that was cut off must leave no worker behind, and be completed by running it again."""
    target = tmp_path / "target"
    scene.site.run("backup", scene.source)
    restore = scene.site.start("restore", f"latest:{scene.source}", "--target", target)
    restore.wait_until(lambda: target.exists() and any(target.iterdir()), "files appear")
    restore.signal_parent(signal.SIGKILL)
    _assert_dead(restore)
    scene.site.run("restore", f"latest:{scene.source}", "--target", target)
    assert digests(target) == digests(scene.source)


def _assert_dead(backup: Running) -> None:
    ended = backup.end()
    assert ended.code in {-signal.SIGKILL, 0}, ended.err  # 0: it was done already
    backup.assert_none_survives()


def _assert_recovers(scene: Scene, restic: Restic, *, by_restic: bool, snapshots: int | None = None) -> None:
    if scene.site.files("locks"):
        scene.remove_dead_lock(restic, by_restic=by_restic)
    scene.judge(restic, snapshots=snapshots)
