"""Several processes on one repository and one cache at the same time."""

from __future__ import annotations

import signal
from pathlib import Path

from limpet.testing.restic import Restic

from tests.safety.files import digests, write_tree
from tests.safety.judging import assert_clean, assert_restores, snapshot_ids
from tests.safety.program import PASSWORD, Site
from tests.safety.scene import Scene

SMALL_PACKS = ("--pack-size", "4")


def test_two_backups_at_once(site: Site, tmp_path: Path, restic_new: Restic) -> None:
    """Two machines that back up in the same minute must both end with a whole snapshot."""
    sources = [tmp_path / "one", tmp_path / "other"]
    for seed, source in enumerate(sources):
        write_tree(source, seed, small=200, large_mib=16)
        write_tree(source / "in-both", 5, small=50, large_mib=8)
    for _ in range(2):
        running = [site.start(*SMALL_PACKS, "backup", source) for source in sources]
        for backup in running:
            ended = backup.end()
            assert ended.code == 0, ended.err
            assert ended.err == ""
    assert not site.files("locks")
    assert_clean(site, restic_new)
    assert len(snapshot_ids(site, restic_new)) == 4
    for source in sources:
        for snapshot in restic_new.json("snapshots", "--path", source, repo=site.repository, password=PASSWORD):
            assert_restores(site, restic_new, snapshot["id"], digests(source), source)


def test_backups_of_both_programs_at_once(scene: Scene, restic_new: Restic) -> None:
    """During a change from restic to Limpet both run from old and new timers."""
    backup = scene.site.start(*SMALL_PACKS, "backup", scene.source)
    with restic_new.start("backup", scene.source, repo=scene.site.repository, password=PASSWORD) as other:
        _, said = other.communicate(timeout=120)
        assert other.returncode == 0, said.decode()
    ended = backup.end()
    assert ended.code == 0, ended.err
    scene.judge(restic_new, snapshots=3)


def test_check_beside_a_backup(scene: Scene, restic_new: Restic) -> None:
    """A check needs the repository for itself, says who has it, and leaves the backup alone; --no-lock goes beside."""
    backup = scene.site.start(*SMALL_PACKS, "backup", *scene.held)
    backup.wait_until(lambda: bool(scene.site.files("locks")), "the lock is there")
    refused = scene.site.run("check", code=11)
    assert f"PID {backup.pid} " in refused.err
    waiting = scene.site.start("--retry-lock", "10m", "check")
    scene.site.run("--no-lock", "check", "--read-data")
    scene.release()
    ended = backup.end()
    assert ended.code == 0, ended.err
    checked = waiting.end()
    assert checked.code == 0, checked.err
    scene.judge(restic_new, snapshots=2)


def test_backup_beside_a_check(scene: Scene, restic_new: Restic) -> None:
    """While a check has the repository for itself no backup may begin; told to wait it waits."""
    check = scene.site.start("--limit-download", "1000", "check", "--read-data")  # some seconds
    check.wait_until(lambda: bool(scene.site.files("locks")), "the lock is there")
    check.signal_group(signal.SIGSTOP)
    refused = scene.site.run("backup", scene.source, code=11)
    assert "already locked exclusively" in refused.err
    backup = scene.site.start("--retry-lock", "10m", "backup", scene.source)
    check.signal_group(signal.SIGCONT)
    assert check.end().code == 0
    ended = backup.end()
    assert ended.code == 0, ended.err
    scene.judge(restic_new, snapshots=2)


def test_restore_beside_a_backup(scene: Scene, tmp_path: Path, restic_new: Restic) -> None:
    """Getting a file back must not wait for the nightly backup; both use the same cache."""
    (first,) = snapshot_ids(scene.site, restic_new)
    for number in range(2):
        target = tmp_path / f"target-{number}"
        backup = scene.site.start(*SMALL_PACKS, "backup", "--force", scene.source)
        restore = scene.site.start("restore", f"{first}:{scene.source}", "--target", target)
        for running in (restore, backup):
            ended = running.end()
            assert ended.code == 0, ended.err
        assert digests(target) == scene.before
    scene.judge(restic_new, snapshots=3)


def test_four_processes_fill_one_cache(scene: Scene, restic_new: Restic) -> None:
    """Scripts run many commands at once: a cache that nobody has filled yet must serve them all."""
    (first,) = snapshot_ids(scene.site, restic_new)
    listings = [scene.site.start("--no-lock", "ls", first) for _ in range(4)]
    said = set()
    for listing in listings:
        ended = listing.end()
        assert ended.code == 0, ended.err
        assert ended.err == ""
        said.add(ended.out)
    assert len(said) == 1
    assert not list(scene.site.cache.rglob("tmp-*"))
