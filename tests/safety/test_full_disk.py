"""Disks that fill up: the repository's, the cache's, the one that a restore goes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.safety.files import MIB, digests, write_tree
from tests.safety.judging import assert_clean, assert_next_backup_works, assert_restores, snapshot_ids
from tests.safety.mounts import fill_up, small_disk
from tests.safety.program import Ended, Site

DISK_MIB = 24
SMALL_PACKS = ("--pack-size", "4")


@pytest.mark.parametrize("leave_kib", [0, 64, 6_000, 14_000])
def test_repository_on_a_full_disk(tmp_path: Path, restic_new: Restic, leave_kib: int) -> None:
    """A full backup disk must be named in one line, keep what it has, and be usable once there is room again."""
    source = tmp_path / "source"
    with small_disk(tmp_path / "disk", DISK_MIB) as disk:
        site = Site(disk)
        site.cache = tmp_path / "cache"
        site.create()
        write_tree(source, seed=1, small=50, large_mib=4)
        before = digests(source)
        site.run("backup", source)
        write_tree(source, seed=2, small=50, large_mib=16)
        filler = fill_up(disk, leave_kib=leave_kib)

        for _ in range(2):  # the second must not find less room than the first
            ended = site.run(*SMALL_PACKS, "backup", source, code=1)
            _assert_names_the_full_disk(ended, disk)
            assert not site.files("locks")
            assert not site.temporary_files()

        filler.unlink()
        if leave_kib > 10_000:
            _make_room(site, disk, source)
        site.folder = tmp_path  # restored files do not fit on the disk
        assert_clean(site, restic_new)
        (first,) = snapshot_ids(site, restic_new)
        assert_restores(site, restic_new, first, before, source)
        assert_next_backup_works(site, restic_new, source)
        site.close()


def _make_room(site: Site, disk: Path, source: Path) -> None:
    """Here the backup itself has filled the disk: there is room when less is to be saved."""
    for path in source.glob("large-*"):
        path.write_bytes(path.read_bytes()[: MIB // 2])


def test_cache_on_a_full_disk(tmp_path: Path, restic_new: Restic) -> None:
    """The cache only saves time: without room for it a backup goes on, and says so once."""
    source = tmp_path / "source"
    write_tree(source, seed=1, small=50, large_mib=4)
    with small_disk(tmp_path / "disk", 1) as disk:
        fill_up(disk)
        site = Site(tmp_path)
        site.cache = disk / "cache"
        site.create()
        ended = site.run("backup", source)
        assert ended.err.count("going on without the cache") == 1, ended.err
        assert str(disk) in ended.err
        site.cache = tmp_path / "cache"
        assert_next_backup_works(site, restic_new, source)
        site.close()


def test_source_on_a_full_disk(tmp_path: Path, restic_new: Restic) -> None:
    """A full disk is when a backup is wanted most: it must write nothing there, nor to a full /tmp."""
    with small_disk(tmp_path / "disk", 12) as disk:
        source = disk / "source"
        write_tree(source, seed=1, small=50, large_mib=8)
        (disk / "tmp").mkdir()
        fill_up(disk)
        site = Site(tmp_path)
        site.variables["TMPDIR"] = str(disk / "tmp")
        site.create()
        assert site.run("backup", source).err == ""
        assert_next_backup_works(site, restic_new, source)
        site.close()


@pytest.mark.parametrize("flags", [(), ("--sparse",), ("--verify",)])
def test_restore_to_a_full_disk(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """A restore for which there is no room must say so and fail, and be finished by the next one when there is."""
    site, source = Site(tmp_path), tmp_path / "source"
    site.create()
    write_tree(source, seed=1, small=50, large_mib=12)
    site.run("backup", source)
    with small_disk(tmp_path / "disk", 16) as disk:
        target = disk / "target"
        target.mkdir()
        filler = fill_up(disk, leave_kib=6_000)
        ended = site.run("restore", *flags, f"latest:{source}", "--target", target, code=1)
        assert ended.last_line.startswith("Fatal: no space left while writing ")
        assert str(target) in ended.last_line
        assert "Traceback" not in ended.err
        assert not site.files("locks")
        filler.unlink()
        site.run("restore", *flags, f"latest:{source}", "--target", target)
        assert digests(target) == digests(source)
    site.close()


def _assert_names_the_full_disk(ended: Ended, disk: Path) -> None:
    assert "No space left on device" in ended.last_line, ended.err
    assert str(disk) in ended.last_line
    assert ended.last_line.startswith("Fatal: ")
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "snapshot" not in ended.out.splitlines()[-1:]
