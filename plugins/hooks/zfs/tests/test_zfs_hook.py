"""The ZFS hook beside a stand-in for `zfs`: its command lines, its clean-up, its failures. Not ZFS itself."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from limpet.testing.hook import HookConformance
from limpet.testing.site import Site
from limpet_hook_zfs import ZfsHook

from tests.services.backups import Backups

HOOK = ["--hook", "zfs-stand-in"]
STAND_IN = Path(__file__).with_name("zfs_stand_in.py")


class Pool:
    """Two datasets in folders, the second mounted in the first, and the program that makes snapshots of them."""

    def __init__(self, folder: Path) -> None:
        self.table = folder / "mountinfo"
        self.top = folder / "tank"
        self.inner = self.top / "inner"
        self.inner.mkdir(parents=True)
        (self.top / "file").write_text("x" * 100)
        (self.inner / "file").write_text("inner")
        (folder / "bound").mkdir()
        lines = [
            "1 0 0:1 / / rw - ext4 /dev/sda1 rw",
            f"2 1 0:2 / {self.top} rw - zfs tank rw",
            f"3 2 0:3 / {self.inner} rw - zfs tank/inner rw",
            f"4 1 0:4 /part {folder}/bound rw - zfs tank/elsewhere rw",
        ]
        self.table.write_text("\n".join(lines) + "\n")
        self.programs = folder / "programs"
        self.programs.mkdir()
        program = self.programs / "zfs"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} {self.table} "$@"\n')
        program.chmod(0o755)

    def snapshots(self) -> list[str]:
        """What is there of the first dataset."""
        return sorted(os.listdir(self.top / ".zfs/snapshot"))

    def calls(self) -> list[str]:
        """What `zfs` was called with."""
        return self.table.with_name("calls").read_text().splitlines()

    def trouble(self, text: str) -> None:
        """Have a subcommand fail: `destroy: cannot destroy: dataset is busy`, or `snapshot: hang`."""
        self.table.with_name("trouble").write_text(text)

    def leave(self, name: str) -> None:
        """A snapshot that somebody made."""
        (self.top / ".zfs/snapshot" / name).mkdir(parents=True)


@pytest.fixture
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A pool of the test's own."""
    return Pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture
def backups(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Backups:
    """A repository, and the hook that looks at the pool's table of mounts."""
    site = Site(tmp_path / "site", tmp_path)
    site.folder.mkdir()
    module = f"""
        from limpet_hook_zfs import ZfsHook

        class Hook(ZfsHook):
            mount_table = {str(pool.table)!r}
        """
    site.install("zfs-stand-in", {"limpet.hooks": {"zfs-stand-in": "zfs_of_test:Hook"}}, {"zfs_of_test": module})
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    return Backups(tmp_path / "backups", programs=pool.programs)


class TestConformance(HookConformance):
    """The contract's own suite where nothing is on ZFS."""

    hook_class = ZfsHook


class TestConformanceOnStandIn(HookConformance):
    """The same with something to freeze."""

    hook_class = ZfsHook

    @pytest.fixture
    def tmp_path(self, pool: Pool) -> Path:
        return pool.top

    @pytest.fixture
    def hook(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> ZfsHook:
        monkeypatch.setenv("PATH", f"{pool.programs}:{os.environ['PATH']}")
        on_stand_in = type("OnStandIn", (ZfsHook,), {"mount_table": str(pool.table)})
        hook: ZfsHook = on_stand_in({option.name: option.default for option in ZfsHook.options})
        return hook


def test_a_backup(backups: Backups, pool: Pool) -> None:
    """One snapshot for all that is on a dataset, shown under its own paths, and gone afterwards."""
    pool.leave("by-hand")
    backups.backup(*HOOK, pool.top / "file", pool.top, pool.inner)
    assert backups.snapshots()[0]["paths"] == [str(pool.top), str(pool.top / "file"), str(pool.inner)]
    restored = backups.restored(pool.top)
    assert (restored / "file").read_text() == "x" * 100
    assert (restored / "inner/file").read_text() == "inner"
    assert pool.snapshots() == ["by-hand"]
    made = [line.split("@")[0] for line in pool.calls() if line.startswith(("snapshot", "destroy"))]
    assert made == ["snapshot tank", "snapshot tank/inner", "destroy tank/inner", "destroy tank"]


def test_what_changes_after_that_moment(backups: Backups, pool: Pool) -> None:
    """What is read is in the snapshot, not beside it."""
    backups.backup(*HOOK, "-o", f"shell.source_before=echo later > {pool.top}/file", pool.top)
    assert (backups.restored(pool.top) / "file").read_text() == "x" * 100
    assert (pool.top / "file").read_text() == "later\n"


def test_a_dataset_inside(backups: Backups, pool: Pool) -> None:
    """Whoever asks for the inner one has nothing to do with the outer one."""
    backups.backup(*HOOK, pool.inner)
    assert [line.split("@")[0] for line in pool.calls() if "snapshot t" in line] == ["snapshot tank/inner"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(backups: Backups, pool: Pool, number: signal.Signals) -> None:
    """A snapshot that stays keeps the space of all that is deleted since."""
    with backups.held(*HOOK, pool.top) as held:
        held.wait_until_it_reads()
        assert len(pool.snapshots()) == 1
        code, said = held.end(number)
        assert code == 130, said
    assert pool.snapshots() == []


def test_leftovers_of_a_killed_run(backups: Backups, pool: Pool) -> None:
    """After SIGKILL nobody cleans up but the next run; a run that lives keeps its snapshot."""
    with backups.held(*HOOK, pool.top) as held:
        held.wait_until_it_reads()
        held.end(signal.SIGKILL)
    (killed,) = pool.snapshots()
    foreign = "limpet-00000000-00000000-1-1-1"
    pool.leave(foreign)
    with backups.held(*HOOK, pool.top) as held:
        held.wait_until_it_reads()
        assert killed not in pool.snapshots()
        (living,) = set(pool.snapshots()) - {foreign}
        backups.backup(*HOOK, pool.top)
        assert living in pool.snapshots()
        held.let_go()
    assert pool.snapshots() == [foreign]


def test_failures(backups: Backups, pool: Pool) -> None:
    """Without a snapshot, or with one that stays, the run has failed."""
    pool.trouble("snapshot: cannot create snapshot 'tank@x': permission denied")
    failed = backups.backup(*HOOK, pool.top, exit_code=1)
    assert "failed at source prepare: zfs snapshot failed: cannot create snapshot" in failed["stderr"]
    pool.trouble("snapshot: hang")
    failed = backups.backup("-o", "zfs-stand-in.timeout=1s", pool.top, exit_code=1)
    assert "zfs snapshot took longer than 1 s and was ended" in failed["stderr"]
    assert backups.snapshots() == []
    pool.trouble("destroy: cannot destroy snapshot: permission denied")
    failed = backups.backup(*HOOK, pool.top, exit_code=1)
    assert "failed at source release: zfs destroy failed: cannot destroy" in failed["stderr"]
    assert len(backups.snapshots()) == 1


def test_busy_for_a_moment(backups: Backups, pool: Pool) -> None:
    """ZFS mounts snapshots by itself, and takes a while to see that nobody looks any more."""
    pool.trouble("destroy:once cannot destroy snapshot: dataset is busy")
    backups.backup(*HOOK, pool.top)
    assert pool.snapshots() == []


def test_a_snapshot_that_cannot_be_seen(backups: Backups, pool: Pool) -> None:
    """In a container without the right to mount there is no `.zfs`: an error, not an empty backup."""
    program = pool.programs / "zfs"
    text = program.read_text()
    program.write_text(text.replace("exec", f'case "$1" in snapshot) rm -rf {pool.top}/.zfs; exit 0;; esac\nexec'))
    failed = backups.backup(*HOOK, pool.top, exit_code=1)
    assert "is not at" in failed["stderr"]
    assert "No such file or directory" in failed["stderr"]


def test_only_a_part_is_mounted(backups: Backups, pool: Pool) -> None:
    """The folder `.zfs` is in the root of a dataset."""
    failed = backups.backup(*HOOK, pool.table.parent / "bound", exit_code=1)
    assert "only a folder of the dataset tank/elsewhere is mounted" in failed["stderr"]
