"""SIGKILL in the middle of a prune: every snapshot is whole, and the next prune finishes what the first began."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.safety.files import digests
from tests.safety.judging import assert_clean, assert_restores, snapshot_ids
from tests.safety.program import PASSWORD
from tests.safety.scene import Scene
from tests.safety.strace import ONE_CONNECTION, injected, killed

PRUNE = ("prune", "--max-unused", "0")
SMALL_PACKS = ("--pack-size", "4")
ROUNDS, LONG_ROUNDS = 2, 60


@pytest.fixture(scope="module")
def used(original: Scene, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A second snapshot beside the first, which is forgotten: much of what it had is used by nobody now."""
    scene = original.copied(tmp_path_factory.mktemp("pruned"))
    scene.site.run(*SMALL_PACKS, "backup", scene.source)
    restic_id = sorted(scene.site.files("snapshots"))
    scene.site.run("forget", "--keep-last", "1")
    assert len(scene.site.files("snapshots")) == len(restic_id) - 1
    return scene


@pytest.fixture(scope="module")
def prune_s(used: Scene, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the prune takes that nothing disturbs."""
    scene = used.copied(tmp_path_factory.mktemp("undisturbed-prune"))
    started = time.monotonic()
    scene.site.run(*SMALL_PACKS, *PRUNE)
    return time.monotonic() - started


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_at_a_random_moment(
    used: Scene, prune_s: float, restic_new: Restic, tmp_path: Path, number: int
) -> None:
    """A power cut during the nightly prune must not cost a snapshot."""
    _killed_at_a_random_moment(used, prune_s, restic_new, tmp_path, (number, ROUNDS))


@pytest.mark.long
@pytest.mark.parametrize("number", range(LONG_ROUNDS))
def test_killed_often(used: Scene, prune_s: float, restic_new: Restic, tmp_path: Path, number: int) -> None:
    """The same so often that every stretch of the run is hit."""
    _killed_at_a_random_moment(used, prune_s, restic_new, tmp_path, (number, LONG_ROUNDS))


def _killed_at_a_random_moment(
    used: Scene, prune_s: float, restic: Restic, folder: Path, round_of: tuple[int, int]
) -> None:
    number, rounds = round_of
    scene = used.copied(folder)
    try:
        moment = prune_s * (0.3 + 0.7 * (number + random.Random(number).random()) / rounds)
        prune = scene.site.start(*SMALL_PACKS, *PRUNE)
        time.sleep(max(0.0, prune.started + moment - time.monotonic()))
        prune.signal_group(signal.SIGKILL)
        ended = prune.end()
        assert ended.code in {-signal.SIGKILL, 0}, ended.err
        prune.assert_none_survives()
        _assert_recovers(scene, restic)
    finally:
        scene.site.close()


@pytest.mark.parametrize(("call", "at"), [("rename", 2), ("unlink", 1), ("unlink", 3)])
def test_killed_at_a_system_call(used: Scene, restic_new: Restic, tmp_path: Path, call: str, at: int) -> None:
    """When a new pack gets its name, and when the first old files go: here an order that is wrong shows."""
    scene = used.copied(tmp_path)
    try:
        log = scene.site.folder / "strace"
        prefix = injected(call, f"signal=SIGKILL:when={at}", log=log)
        prune = scene.site.start(*SMALL_PACKS, *ONE_CONNECTION, *PRUNE, prefix=prefix)
        ended = prune.end()
        assert killed(log), ended.err
        prune.assert_none_survives()
        _assert_recovers(scene, restic_new)
    finally:
        scene.site.close()


def test_what_a_killed_upload_left_is_swept(used: Scene, restic_new: Restic, tmp_path: Path) -> None:
    """Nobody else ever removes such files: a nightly run that is killed each time would fill the disk."""
    scene = used.copied(tmp_path)
    try:
        pack = min(scene.site.files("data"))
        left = [
            scene.site.repository / "data" / pack[:2] / f"{pack}-tmp-0123456789abcdef",
            scene.site.repository / "index" / f"{pack}-tmp-123456789",
            scene.site.repository / "snapshots" / f"{pack}-tmp-0123456789abcdef",
        ]
        kept = scene.site.repository / "locks" / f"{pack}-tmp-0123456789abcdef"
        for path in (*left, kept):
            path.write_bytes(b"half")
        scene.site.run("prune", "--dry-run")
        assert all(path.exists() for path in left)
        scene.site.run("prune")
        assert not any(path.exists() for path in left)
        assert kept.exists()  # another process may be writing its lock at any time
        assert_clean(scene.site, restic_new)
    finally:
        scene.site.close()


def _assert_recovers(scene: Scene, restic: Restic) -> None:
    if scene.site.files("locks"):
        scene.remove_dead_lock(restic, by_restic=False)
    assert_clean(scene.site, restic)
    (snapshot,) = snapshot_ids(scene.site, restic)
    assert_restores(scene.site, restic, snapshot, digests(scene.source), scene.source)
    scene.site.run(*PRUNE)
    assert_clean(scene.site, restic)
    assert not scene.site.temporary_files()
    again = restic.run("prune", "--dry-run", "-v", "--max-unused", "0", repo=scene.site.repository, password=PASSWORD)
    assert b"unused:                0 blobs / 0 B" in again.stdout
