"""The Btrfs hook on a real Btrfs: one frozen moment, nothing left behind, and what happens when it fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from limpet.contracts.options import OptionValue
from limpet.testing.hook import HookConformance
from limpet.testing.restic import Restic
from limpet_hook_btrfs import BtrfsHook

from tests.services.backups import PASSWORD, Backups, BusyWriter
from tests.services.loop_mount import loop_mount

HOOK = ["--hook", "btrfs"]


def btrfs(*arguments: str | Path) -> str:
    """What the program prints."""
    return subprocess.run(["btrfs", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Btrfs."""
    with loop_mount(tmp_path_factory.mktemp("btrfs"), "btrfs", 256) as place:
        yield place


@pytest.fixture
def volume(mounted: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A subvolume of the test's own; nothing of a backup may be left in it."""
    folder = mounted / f"volume-{time.monotonic_ns()}"
    btrfs("-q", "subvolume", "create", folder)
    (folder / "data").mkdir()
    (folder / "data/file").write_text("x" * 5000)
    yield folder
    assert snapshots(folder) == [], f"left behind by {request.node.name}"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A `btrfs` that writes down what it is called with; it can be made to do worse."""
    folder = tmp_path / "programs"
    folder.mkdir()
    stand_in(folder, "")
    return folder


def stand_in(folder: Path, first: str) -> None:
    """Have `btrfs` do `first` and then what it is there for; it writes down its calls."""
    program = folder / "btrfs"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{first}\nexec {shutil.which("btrfs")} "$@"\n')
    program.chmod(0o755)


def calls(folder: Path, words: str) -> list[str]:
    """The calls that begin with these words."""
    return [line for line in (folder / "calls").read_text().splitlines() if line.startswith(words)]


@pytest.fixture
def backups(tmp_path: Path, programs: Path) -> Backups:
    """A repository elsewhere."""
    return Backups(tmp_path / "backups", programs=programs)


def snapshots(volume: Path) -> list[str]:
    """The hook's snapshots that are there."""
    return sorted(name for name in os.listdir(volume) if name.startswith(".limpet-"))


class TestConformance(HookConformance):
    """The contract's own suite, with something to freeze."""

    hook_class = BtrfsHook

    @pytest.fixture
    def tmp_path(self, volume: Path) -> Path:
        """What is backed up is on Btrfs."""
        return volume / "data"


class TestConformanceElsewhere(HookConformance):
    """The same where there is nothing to freeze."""

    hook_class = BtrfsHook

    @pytest.fixture
    def settings(self) -> Mapping[str, OptionValue]:
        return {"timeout": 5.0}


def test_one_moment_beside_a_busy_writer(backups: Backups, volume: Path, restic_new: Restic) -> None:
    """Files that belong together must be of one moment: that is what the hook is for."""
    with BusyWriter(volume / "busy") as writer:
        assert writer
        with backups.held(*HOOK, volume / "busy") as held:
            held.wait_until_it_reads()
            code, said = held.let_go()
            assert code == 0, said
        time.sleep(0.05)
    (snapshot,) = backups.snapshots()
    assert snapshot["paths"] == [str(volume / "busy"), "/zz-held"]
    last = BusyWriter.assert_one_moment(backups.restored(volume / "busy"))
    assert BusyWriter.numbers(volume / "busy")[0] > last
    restic_new.run("check", "--read-data", repo=backups.repository, password=PASSWORD)


def test_what_changes_after_that_moment(backups: Backups, volume: Path) -> None:
    """Whoever starts a service again once its files are frozen must not find its next hour in the backup."""
    file = volume / "data/file"
    later = ["-o", f"shell.source_before=echo later > {file}"]
    backups.backup(*HOOK, *later, volume / "data")
    assert (backups.restored(volume / "data") / "file").read_text() == "x" * 5000
    assert file.read_text() == "later\n"
    backups.backup(*later, volume / "data")
    assert (backups.restored(volume / "data") / "file").read_text() == "later\n", "that is without the hook"


def test_an_unchanged_folder_adds_nothing(backups: Backups, volume: Path) -> None:
    """Every run reads at another path and on another device: the parent has to be found, the files be the same."""
    os.link(volume / "data/file", volume / "data/linked")
    backups.backup(*HOOK, volume / "data")
    again = backups.backup(*HOOK, volume / "data")
    assert (again["files_unmodified"], again["files_new"], again["files_changed"]) == (2, 0, 0)
    assert (again["data_blobs"], again["dirs_new"]) == (0, 0)
    live = backups.backup(volume / "data")
    assert (live["files_unmodified"], live["data_blobs"]) == (2, 0), "the live files are the same"


def test_paths_on_one_volume_share_a_snapshot(backups: Backups, volume: Path, programs: Path) -> None:
    """Two snapshots would be two moments."""
    (volume / "more").mkdir()
    (volume / "more/file").write_text("more")
    backups.backup(*HOOK, volume / "data", volume / "more", volume / "more/file", volume / "data")
    assert len(calls(programs, "subvolume snapshot")) == 1
    assert len(calls(programs, "subvolume delete")) == 1
    assert (backups.restored(volume / "more") / "file").read_text() == "more"


def test_excludes_and_one_file_system(backups: Backups, volume: Path) -> None:
    """What is left out is said by paths as people know them, and the copy is a file system of its own."""
    (volume / "data/skip.log").write_text("x")
    backups.backup(*HOOK, "--one-file-system", "--exclude", volume / "data/*.log", volume / "data")
    assert os.listdir(backups.restored(volume / "data")) == ["file"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(backups: Backups, volume: Path, number: signal.Signals) -> None:
    """Snapshots that stay keep the space of all that is deleted since."""
    with backups.held(*HOOK, volume / "data") as held:
        held.wait_until_it_reads()
        assert len(snapshots(volume)) == 1
        code, said = held.end(number)
        assert code == 130, said
    assert snapshots(volume) == []
    assert backups.snapshots() == []


def test_failed(backups: Backups, volume: Path) -> None:
    """The same after a failure."""
    backups.backup(*HOOK, volume / "data", "command:broken=false", exit_code=1)
    assert snapshots(volume) == []


def test_leftovers_of_a_killed_run(backups: Backups, volume: Path) -> None:
    """After SIGKILL or a power loss nobody cleans up but the next run; the snapshots of a run that lives stay."""
    foreign = volume / ".limpet-00000000-00000000-1-1-1"
    btrfs("-q", "subvolume", "snapshot", "-r", volume, foreign)
    before_the_last_boot = volume / snapshot_name_of_another_boot()
    btrfs("-q", "subvolume", "snapshot", "-r", volume, before_the_last_boot)
    with backups.held(*HOOK, volume / "data") as held:
        held.wait_until_it_reads()
        assert not before_the_last_boot.exists()
        held.end(signal.SIGKILL)
    (killed,) = set(snapshots(volume)) - {foreign.name}
    with backups.held(*HOOK, volume / "data") as held:
        held.wait_until_it_reads()
        (living,) = set(snapshots(volume)) - {foreign.name}
        assert living != killed
        done = backups.limpet(*HOOK, "backup", volume / "data")
        assert living in snapshots(volume), "another run still reads from it"
        assert "removed" not in done.stdout
        held.let_go()
    assert snapshots(volume) == [foreign.name], "nobody knows whether that host still reads from it"
    btrfs("-q", "subvolume", "delete", foreign)


def snapshot_name_of_another_boot() -> str:
    """A snapshot's name as a run made it that a power loss ended."""
    from limpet.contracts.snapshot_names import new_snapshot_name  # noqa: PLC0415  # only here

    prefix, host, _, *rest = new_snapshot_name().split("-")
    return "." + "-".join([prefix, host, "12345678", *rest])


def test_leftovers_that_stay_are_told(backups: Backups, volume: Path, programs: Path) -> None:
    """They are in nobody's way, so the backup goes on; but they take space for ever if nobody hears of them."""
    left = volume / snapshot_name_of_another_boot()
    btrfs("-q", "subvolume", "snapshot", "-r", volume, left)
    stand_in(programs, f'case "$*" in *delete*{left.name}) echo "ERROR: not permitted" >&2; exit 1; esac')
    done = backups.limpet(*HOOK, "backup", volume / "data")
    assert f"the snapshot {left.name[1:]} of a run that was killed cannot be removed" in done.stderr
    assert "not permitted" in done.stderr
    stand_in(programs, "")
    assert f"removed the snapshot {left.name[1:]}" in backups.limpet(*HOOK, "backup", volume / "data").stdout


def test_a_snapshot_that_cannot_be_made(backups: Backups, volume: Path, programs: Path) -> None:
    """A backup of the live files, without a word, is not what was asked for."""
    stand_in(programs, 'case "$*" in *snapshot*) echo "ERROR: cannot snapshot: no space" >&2; exit 1; esac')
    failed = backups.backup(*HOOK, volume / "data", exit_code=1)
    assert "hook btrfs failed at source prepare: btrfs subvolume snapshot failed: ERROR: cannot" in failed["stderr"]
    assert "(exit status 1)" in failed["stderr"]
    assert backups.snapshots() == []
    warned = backups.backup(*HOOK, "-o", "btrfs.on_error=warn", volume / "data")
    assert "hook btrfs failed at source prepare" in warned["stderr"]
    assert len(backups.snapshots()) == 1


def test_a_program_that_hangs(backups: Backups, volume: Path, programs: Path) -> None:
    """A hook that waits for ever keeps every later backup from running."""
    stand_in(programs, 'case "$*" in *snapshot*) sleep 1000; esac')
    failed = backups.backup("-o", "btrfs.timeout=1s", volume / "data", exit_code=1)
    assert "btrfs subvolume snapshot took longer than 1 s and was ended" in failed["stderr"]
    assert backups.snapshots() == []


def test_a_clean_up_that_fails(backups: Backups, volume: Path, programs: Path) -> None:
    """The snapshot is in the repository, but something stays behind: that is no success."""
    stand_in(programs, 'case "$*" in *delete*) echo "ERROR: busy" >&2; exit 1; esac')
    failed = backups.backup(*HOOK, volume / "data", exit_code=1)
    assert "hook btrfs failed at source release: btrfs subvolume delete failed: ERROR: busy" in failed["stderr"]
    assert len(backups.snapshots()) == 1
    stand_in(programs, "")
    backups.backup(*HOOK, volume / "data")


def test_subvolumes_inside(backups: Backups, volume: Path) -> None:
    """A snapshot has empty folders in their places: without a warning that is a backup with a hole."""
    inner = volume / "data/inner"
    btrfs("-q", "subvolume", "create", inner)
    (inner / "deep").write_text("deep")
    (volume / "beside").mkdir()
    warned = backups.backup(*HOOK, volume / "data")
    assert f"which lacks the subvolumes inside: {inner}; to have one" in warned["stderr"]
    both = backups.backup(*HOOK, volume / "data", inner)
    assert "lacks" not in both["stderr"]
    restored = backups.restored(volume / "data")
    assert (restored / "inner/deep").read_text() == "deep"
    assert (restored / "file").exists()
    assert "lacks" not in backups.backup(*HOOK, volume / "beside")["stderr"]


def test_what_is_mounted_inside(backups: Backups, volume: Path, tmp_path: Path) -> None:
    """The same for another file system."""
    place, other = volume / "data/mount", tmp_path / "other"
    for folder in (place, other):
        folder.mkdir()
    (other / "file").write_text("of another file system")
    subprocess.run(["mount", "--bind", other, place], check=True)
    try:
        warned = backups.backup(*HOOK, volume / "data")
        assert f"which lacks what is mounted inside: {place}; to have it" in warned["stderr"]
        assert "lacks" not in backups.backup(*HOOK, "--one-file-system", volume / "data")["stderr"]
        both = backups.backup(*HOOK, volume / "data", place)
        assert "lacks" not in both["stderr"]
        assert (backups.restored(volume / "data") / "mount/file").read_text() == "of another file system"
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_folder_of_it_mounted_elsewhere(backups: Backups, volume: Path, tmp_path: Path) -> None:
    """A bind mount shows no root of a subvolume, but another mount of the file system does."""
    place = tmp_path / "bound"
    place.mkdir()
    subprocess.run(["mount", "--bind", volume / "data", place], check=True)
    try:
        backups.backup(*HOOK, place)
        assert backups.snapshots()[0]["paths"] == [str(place)]
        assert (backups.restored(place) / "file").stat().st_size == 5000
    finally:
        subprocess.run(["umount", place], check=True)


def test_through_a_symlink(backups: Backups, volume: Path, tmp_path: Path) -> None:
    """What is frozen is where the path leads; what the snapshot shows is the path."""
    (tmp_path / "link").symlink_to(volume)
    backups.backup(*HOOK, tmp_path / "link/data")
    assert backups.snapshots()[0]["paths"] == [str(tmp_path / "link/data")]
    assert (backups.restored(tmp_path / "link/data") / "file").exists()


def test_snapshots_in_another_folder(backups: Backups, volume: Path, mounted: Path, programs: Path) -> None:
    """In the volume's own folder they change its time in every run."""
    place = mounted / "of-backups"
    place.mkdir()
    option = ["-o", f"btrfs.folder={place}"]
    target = volume / "data"
    backups.backup(*option, target)
    backups.backup(*option, target)
    trees = [backups.limpet("cat", "tree", f"{snapshot['id']}:{mounted}").stdout for snapshot in backups.snapshots()]
    assert trees[0] == trees[1]
    assert all(f"{place}/.limpet-" in call for call in calls(programs, "subvolume snapshot"))
    assert os.listdir(place) == []
    failed = backups.backup("-o", f"btrfs.folder={mounted}/nowhere", volume, exit_code=1)
    assert f"the folder for snapshots, {mounted}/nowhere: No such file or directory" in failed["stderr"]


def test_what_is_not_on_btrfs(backups: Backups, volume: Path, tmp_path: Path) -> None:
    """One backup may hold both; who wants to be sure says so."""
    plain = tmp_path / "plain"
    plain.mkdir()
    backups.backup(*HOOK, volume / "data", plain, "command:dump=echo x")
    failed = backups.backup("-o", "btrfs.required=true", volume / "data", plain, exit_code=1)
    assert f"{plain} is on no volume that can be frozen here, and `required` is set" in failed["stderr"]


def test_bad_time_limit(backups: Backups, volume: Path) -> None:
    """A wrong setting is told before anything is done."""
    failed = backups.backup("-o", "btrfs.timeout=0", volume / "data", exit_code=1)
    assert "timeout must be longer than nothing" in failed["stderr"]
