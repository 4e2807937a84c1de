"""The LVM hook on real volumes, run by `test_lvm_hook.py` in a virtual machine with an empty disk at /dev/vda."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.contracts.snapshot_names import is_snapshot_name
from limpet.testing.hook import HookConformance
from limpet_hook_lvm import LvmHook

from tests.services.backups import Backups, BusyWriter

HOOK = ["-o", "lvm.size=32M"]
GROUP = "limpet-test"
PRIVATE = Path("/run/limpet")


def run(*argv: str | Path) -> str:
    """What a program prints."""
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Volume:
    """A logical volume, mounted."""

    name: str
    folder: Path

    @property
    def device(self) -> Path:
        """Its device."""
        return Path(f"/dev/{GROUP}/{self.name}")


def snapshots() -> list[str]:
    """The hook's snapshots that are there."""
    names = run("lvs", "--noheadings", "-o", "lv_name", GROUP).split()
    return sorted(name for name in names if is_snapshot_name(name))


def assert_nothing_left() -> None:
    """No snapshot, no mount, no folder."""
    assert snapshots() == []
    assert str(PRIVATE) not in Path("/proc/self/mountinfo").read_text()
    assert not PRIVATE.exists() or os.listdir(PRIVATE) == []


@pytest.fixture(scope="module", autouse=True)
def group() -> None:
    """A volume group with a thin pool in it."""
    run("pvcreate", "-q", "/dev/vda")
    run("vgcreate", "-q", GROUP, "/dev/vda")
    run("lvcreate", "-q", "--type", "thin-pool", "-n", "pool", "-L", "700M", GROUP)


def make(folder: Path, name: str, kind: str, *, thin: bool) -> Iterator[Volume]:
    """A volume with a file system; removed afterwards, and nothing else may be left."""
    room = ["-T", "-V", "320M", f"{GROUP}/pool"] if thin else ["-L", "320M", GROUP]
    run("lvcreate", "-q", "-y", "-Wn", "-n", name, *room)
    volume = Volume(name, folder / name)
    volume.folder.mkdir()
    run(f"mkfs.{kind}", "-q", volume.device)
    run("mount", volume.device, volume.folder)
    (volume.folder / "data").mkdir()
    (volume.folder / "data/file").write_text("x" * 5000)
    os.link(volume.folder / "data/file", volume.folder / "data/linked")
    yield volume
    try:
        assert_nothing_left()
    finally:
        run("umount", volume.folder)
        run("lvremove", "-q", "-y", f"{GROUP}/{name}")


@pytest.fixture(params=["ext4", "xfs thin"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    """One of each kind."""
    kind, _, thin = request.param.partition(" ")
    yield from make(tmp_path, "home", kind, thin=bool(thin))


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Volume]:
    """One of the usual kind."""
    yield from make(tmp_path, "home", "ext4", thin=False)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for programs that go before the real ones."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


def stand_in(folder: Path, name: str, first: str) -> None:
    """Have a program do `first`, and then what it is there for; it writes down its calls."""
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/{name}.calls\n{first}\nexec {shutil.which(name)} "$@"\n')
    program.chmod(0o755)


@pytest.fixture
def backups(tmp_path: Path, programs: Path) -> Backups:
    """A repository elsewhere. Nothing is imported anew for each command: emulated, that takes most of the time."""
    return Backups(tmp_path / "backups", programs=programs, forked=True)


class TestConformance(HookConformance):
    """The contract's own suite, with something to freeze."""

    hook_class = LvmHook

    @pytest.fixture(scope="class")
    @classmethod
    def kept(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Volume]:
        """One volume for the whole suite."""
        yield from make(tmp_path_factory.mktemp("kept"), "kept", "ext4", thin=False)

    @pytest.fixture
    def tmp_path(self, kept: Volume) -> Path:
        return kept.folder / "data"


def test_one_moment_beside_a_busy_writer(backups: Backups, volume: Volume) -> None:
    """Files that belong together must be of one moment; an unchanged folder adds nothing to that."""
    busy = volume.folder / "busy"
    with BusyWriter(busy):
        with backups.held(*HOOK, busy) as held:
            held.wait_until_it_reads()
            (name,) = snapshots()
            assert (PRIVATE / name).stat().st_mode & 0o777 == 0o700
            assert f" {PRIVATE}/{name}/mounted ro," in Path("/proc/self/mountinfo").read_text()
            code, said = held.let_go()
            assert code == 0, said
        time.sleep(0.1)
    (snapshot,) = backups.snapshots()
    assert snapshot["paths"] == [str(busy), "/zz-held"]
    last = BusyWriter.assert_one_moment(backups.restored(busy))
    assert BusyWriter.numbers(busy)[0] > last


def test_what_changes_after_that_moment(backups: Backups, plain: Volume) -> None:
    """Whoever starts a service again once its files are frozen must not find its next hour in the backup."""
    file = plain.folder / "data/file"
    backups.backup(*HOOK, "-o", f"shell.source_before=echo later > {file}", plain.folder / "data")
    assert (backups.restored(plain.folder / "data") / "file").read_text() == "x" * 5000
    assert file.read_text() == "later\n"


def test_an_unchanged_folder_adds_nothing(backups: Backups, plain: Volume) -> None:
    """Every run reads at another path and on another device: the parent has to be found, the files be the same."""
    backups.backup(*HOOK, plain.folder / "data")
    again = backups.backup(*HOOK, plain.folder / "data")
    assert (again["files_unmodified"], again["data_added"]) == (2, 0)
    live = backups.backup(plain.folder / "data")
    assert (live["files_unmodified"], live["data_added"]) == (2, 0)


def test_a_device_in_use(backups: Backups, plain: Volume, programs: Path, tmp_path: Path) -> None:
    """The image of a mounted file system, read as it changes, cannot be mounted again: the snapshot's can."""
    stand_in(programs, "lvcreate", "")
    busy = plain.folder / "busy"
    with BusyWriter(busy):
        backups.backup(*HOOK, f"device://{plain.device}", plain.folder / "data", busy)
    assert len((programs / "lvcreate.calls").read_text().splitlines()) == 1, "one snapshot for all three"
    image = backups.restored(Path(f"/device{plain.device.parent}")) / plain.name
    place = tmp_path / "image"
    place.mkdir()
    run("mount", "-o", "loop", image, place)
    try:
        last = BusyWriter.assert_one_moment(place / "busy")
        assert BusyWriter.assert_one_moment(backups.restored(busy)) == last
    finally:
        run("umount", place)


def test_a_snapshot_that_runs_full(backups: Backups, plain: Volume) -> None:
    """What was read from it may be of any moment: no such backup may be saved."""
    with backups.held("-o", "lvm.size=8M", plain.folder / "data") as held:
        held.wait_until_it_reads()
        (plain.folder / "big").write_bytes(os.urandom(40 << 20))
        os.sync()
        code, said = held.let_go()
    assert code == 1, said
    assert (
        f"the snapshot of {GROUP}/home ran full while it was read: give it more room with the option lvm.size" in said
    )
    assert backups.snapshots() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(backups: Backups, plain: Volume, number: signal.Signals) -> None:
    """A forgotten snapshot runs full, and slows down every write until then."""
    with backups.held(*HOOK, plain.folder / "data", f"device://{plain.device}") as held:
        held.wait_until_it_reads()
        assert len(snapshots()) == 1
        code, said = held.end(number)
        assert code == 130, said
    assert_nothing_left()
    assert backups.snapshots() == []


def test_failed(backups: Backups, plain: Volume) -> None:
    """The same after a failure."""
    backups.backup(*HOOK, plain.folder / "data", "command:broken=false", exit_code=1)
    assert_nothing_left()


def test_leftovers_of_a_killed_run(backups: Backups, plain: Volume) -> None:
    """After SIGKILL nobody cleans up but the next run; a run that lives keeps its snapshot."""
    with backups.held(*HOOK, plain.folder / "data") as held:
        held.wait_until_it_reads()
        held.end(signal.SIGKILL)
    (killed,) = snapshots()
    foreign = "limpet-00000000-00000000-1-1-1"
    run("lvcreate", "-q", "-y", "-s", "--addtag", "limpet", "-n", foreign, "-L", "8M", f"{GROUP}/home")
    with backups.held(*HOOK, plain.folder / "data") as held:
        held.wait_until_it_reads()
        assert killed not in snapshots()
        assert killed not in Path("/proc/self/mountinfo").read_text()
        (living,) = set(snapshots()) - {foreign}
        backups.backup(*HOOK, plain.folder / "data")
        assert living in snapshots()
        held.let_go()
    assert snapshots() == [foreign], "nobody knows whether that host still reads from it"
    run("lvremove", "-q", "-y", f"{GROUP}/{foreign}")


def test_no_room_for_a_snapshot(backups: Backups, plain: Volume) -> None:
    """LVM's own reason, and the hook's option, are what helps."""
    run("lvcreate", "-q", "-y", "-Wn", "-n", "filler", "-l", "100%FREE", GROUP)
    try:
        failed = backups.backup(*HOOK, plain.folder / "data", exit_code=1)
    finally:
        run("lvremove", "-q", "-y", f"{GROUP}/filler")
    assert "hook lvm failed at source prepare: lvcreate failed: Volume group" in failed["stderr"]
    assert "has insufficient free space" in failed["stderr"]
    assert backups.snapshots() == []


def test_programs_that_hang_or_fail(backups: Backups, plain: Volume, programs: Path) -> None:
    """The run ends with an error, and what was made is removed."""
    stand_in(programs, "mount", "echo 'mount: no such luck' >&2; exit 32")
    failed = backups.backup(*HOOK, plain.folder / "data", exit_code=1)
    assert "hook lvm failed at source prepare: mount failed: mount: no such luck (exit status 32)" in failed["stderr"]
    stand_in(programs, "mount", "exec sleep 1000")
    failed = backups.backup(*HOOK, "-o", "lvm.timeout=20s", plain.folder / "data", exit_code=1)
    assert "mount took longer than 20 s" in failed["stderr"]
    assert backups.snapshots() == []


def test_somebody_removes_the_snapshot(backups: Backups, plain: Volume) -> None:
    """What was read after that was nothing at all."""
    with backups.held(*HOOK, f"device://{plain.device}") as held:
        held.wait_until_it_reads()
        (name,) = snapshots()
        run("lvremove", "-q", "-y", "-f", f"{GROUP}/{name}")
        code, said = held.let_go()
    assert code == 1, said
    assert f"the snapshot of {GROUP}/home is gone" in said


def test_a_folder_mounted_elsewhere_and_a_single_file(backups: Backups, plain: Volume, tmp_path: Path) -> None:
    """A bind mount is a view of the same volume; and not everything is a folder."""
    place = tmp_path / "bound"
    place.mkdir()
    run("mount", "--bind", plain.folder / "data", place)
    try:
        backups.backup(*HOOK, place / "file", place)
        assert backups.snapshots()[0]["paths"] == [str(place), str(place / "file")]
        assert sorted(os.listdir(backups.restored(place))) == ["file", "linked"]
    finally:
        run("umount", place)


def test_what_is_not_on_lvm(backups: Backups, plain: Volume, tmp_path: Path) -> None:
    """One backup may hold both; who wants to be sure says so."""
    other = tmp_path / "other"
    other.mkdir()
    backups.backup(*HOOK, plain.folder / "data", other, "command:dump=echo x")
    failed = backups.backup(*HOOK, "-o", "lvm.required=true", plain.folder / "data", other, exit_code=1)
    assert f"{other} is on no volume that can be frozen here" in failed["stderr"]
