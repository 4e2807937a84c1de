"""A mount ends when it is told to, whatever goes on in it, and leaves nothing: no mount, lock, process or thread."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.mounting import END_LIMIT_S, JUDGED, Mounted, Mounts, is_mounted, require_fuse
from tests.safety.files import write_tree
from tests.safety.program import Running, Site
from tests.services.process import ROOT

MIB = 1 << 20
ROUNDS = 300
"""restic's race between the refresh of the lock and the end took hundreds to show. 15 s."""
NATIVE_CODE = b"_native"
"""In the process's map from soon after its start on: from then on it knows what to do with signals."""


@pytest.fixture
def source(mounts: Mounts, tmp_path: Path) -> Path:
    """A few files, backed up."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_tree(folder, 1, small=20, large_mib=8)
    mounts.site.run("backup", folder)
    return folder


def inside(mount: Mounted, source: Path) -> Path:
    """The folder in the newest snapshot."""
    return mount.point / "snapshots" / "latest" / str(source).lstrip("/")


def assert_clean(site: Site) -> None:
    """No lock is left, and nothing that an upload began."""
    assert site.files("locks") == set()
    assert site.temporary_files() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end(mounts: Mounts, source: Path, number: signal.Signals) -> None:
    """Ctrl-C and `systemctl stop` end a mount; it has been used, and files were read."""
    mount = mounts.start(prefix=["env", "--default-signal=INT,TERM,HUP"])
    assert (inside(mount, source) / "large-0").read_bytes() == (source / "large-0").read_bytes()
    assert len(mounts.site.files("locks")) == 1
    ended = mount.end(number)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert_clean(mounts.site)


def test_hangup_does_not_end_it(mounts: Mounts, source: Path) -> None:
    """restic's `unlock` sends SIGHUP to learn whether the holder of a lock is alive: it must live on."""
    mount = mounts.start(prefix=["env", "--default-signal=INT,TERM,HUP"])
    mount.running.signal_parent(signal.SIGHUP)
    assert (inside(mount, source) / "large-0").read_bytes() == (source / "large-0").read_bytes()
    assert mount.end().code == 0
    assert_clean(mounts.site)


@pytest.mark.parametrize("flags", [(), ("--lazy",)])
def test_unmounted_by_somebody_else(mounts: Mounts, source: Path, flags: tuple[str, ...]) -> None:
    """`umount` ends the program, too."""
    mount = mounts.start()
    assert (inside(mount, source) / "large-1").stat().st_size == 4 * MIB
    ended = mount.unmount(*flags)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert_clean(mounts.site)


def test_told_while_a_file_is_open(mounts: Mounts, source: Path) -> None:
    """Somebody's shell sits in the mount and a file is open: it ends all the same, and the mount is not left behind."""
    mount = mounts.start()
    folder = inside(mount, source)
    descriptor = os.open(folder / "large-0", os.O_RDONLY)
    try:
        with subprocess.Popen(["sleep", "600"], cwd=folder) as sitting:
            try:
                assert len(os.read(descriptor, 100)) == 100
                ended = mount.end(signal.SIGTERM)
            finally:
                sitting.kill()
    finally:
        with contextlib.suppress(OSError):  # the kernel tells that nobody answers any more
            os.close(descriptor)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert_clean(mounts.site)


def test_lazily_unmounted_while_a_file_is_open(mounts: Mounts, source: Path) -> None:
    """After a lazy unmount those who have a file open go on; when the last one is through, the program ends."""
    mount = mounts.start()
    with (inside(mount, source) / "large-0").open("rb") as file:
        subprocess.run(["umount", "--lazy", mount.point], check=True)
        assert not is_mounted(mount.point)
        assert file.read() == (source / "large-0").read_bytes()
        assert mount.running.process.poll() is None
    ended = mount.gone()
    assert ended.code == 0, ended.err
    assert_clean(mounts.site)


def test_told_after_a_lazy_unmount(mounts: Mounts, source: Path) -> None:
    """Nor does somebody who keeps a file open in a mount that is gone keep the program from ending."""
    mount = mounts.start()
    descriptor = os.open(inside(mount, source) / "large-0", os.O_RDONLY)
    try:
        subprocess.run(["umount", "--lazy", mount.point], check=True)
        assert os.read(descriptor, 10)
        ended = mount.end(signal.SIGINT)
        assert "Traceback" not in ended.err
    finally:
        with contextlib.suppress(OSError):  # the kernel tells that nobody answers any more
            os.close(descriptor)
    assert_clean(mounts.site)


def test_the_place_can_be_used_again(mounts: Mounts, source: Path) -> None:
    """What was mounted once is mounted again at the same place: nothing of the first one is in the way."""
    first = mounts.start()
    assert first.end().code == 0
    assert os.listdir(first.point) == []
    second = mounts.start_at(first.point)
    assert (inside(second, source) / "large-0").is_file()
    assert second.end().code == 0


def test_killed(mounts: Mounts, source: Path) -> None:
    """After SIGKILL the mount is dead but can be unmounted, and the lock is known to be stale."""
    mount = mounts.start()
    mount.running.process.kill()
    mount.running.end()
    if is_mounted(mount.point):
        with pytest.raises(OSError, match="not connected"):
            os.listdir(mount.point)
        subprocess.run(["umount", "--lazy", mount.point], check=True)
    mounts.site.run("unlock")
    assert_clean(mounts.site)
    assert source.exists()


def test_rounds_in_one_process(mounts: Mounts, source: Path, tmp_path: Path) -> None:
    """Threads, descriptors or locks that stay behind at each end bring a long-running program down one day."""
    require_fuse()
    command = [sys.executable, "-m", "tests.mount.rounds", str(tmp_path), str(ROUNDS)]
    done = subprocess.run(
        command, cwd=ROOT, env=mounts.site.environment(), capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)
    assert [one["locks"] for one in left] == [0] * ROUNDS
    # Whatever a library keeps from its first use on is there after a few rounds.
    assert {one["threads"] for one in left} == {1}
    assert max(one["files"] for one in left[5:]) <= max(one["files"] for one in left[:5])
    assert source.exists()


@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.long)])
def test_rounds_of_processes(mounts: Mounts, source: Path, rounds: int) -> None:
    """The end may come at any moment, also while it is being mounted: nothing is ever left."""
    for number in range(rounds):
        mount = mounts.start()
        if number % 3 == 0:
            assert (inside(mount, source) / "large-0").is_file()
        mount.end([signal.SIGINT, signal.SIGTERM][number % 2])
        assert_clean(mounts.site)
        mount.point.rmdir()


def wait_for_code(running: Running) -> None:
    """Return when the program is about to open the repository."""
    maps = Path(f"/proc/{running.pid}/maps")
    running.wait_until(lambda: NATIVE_CODE in maps.read_bytes(), "it began")


def test_ended_while_it_begins(mounts: Mounts, source: Path, tmp_path: Path) -> None:
    """Ctrl-C while the repository is being opened, or in the moment of mounting: no mount without a program is left."""
    require_fuse()
    point = tmp_path / "point"
    point.mkdir()
    for step in range(8):
        words = [JUDGED] if JUDGED else [sys.executable, "-m", "limpet.cli.main"]
        running = mounts.site.start_program([*words, "mount", point])
        wait_for_code(running)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(0.05 * step)
        running.signal_parent(signal.SIGINT)
        ended = running.end(END_LIMIT_S)
        running.assert_none_survives()
        assert "Traceback" not in ended.err, ended.err
        assert not is_mounted(point)
        assert_clean(mounts.site)
    assert source.exists()
