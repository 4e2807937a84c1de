"""A file system that is frozen for a backup is thawed again, whatever becomes of the backup."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet_source_device import guard
from limpet_source_device.freeze import Freezer
from limpet_source_device.usage import all_mounts

from tests.services.loop_device import MIB, LoopDevice, is_frozen, thaw
from tests.services.process import ROOT
from tests.sources.runs import Runs, running, wait_until

FREEZE = ("-o", "device.freeze=true")
LIMIT_S = 60.0


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A repository."""
    return Runs(tmp_path / "runs", {"XDG_STATE_HOME": str(tmp_path / "state")})


@pytest.fixture
def device(tmp_path: Path) -> Iterator[LoopDevice]:
    """One that is mounted."""
    with LoopDevice(tmp_path / "device.img", 20 * MIB) as loop:
        point = loop.make("ext4").mount(tmp_path / "mounted")
        (point / "file").write_bytes(os.urandom(5 * MIB))
        yield loop


def guards(point: Path) -> list[int]:
    """The processes that keep the file system frozen."""
    return running("guard.py", point)


class SlowReader:
    """A process that has begun to read the device, which is frozen, and waits."""

    def __init__(self, device: LoopDevice, limit_s: float = LIMIT_S) -> None:
        assert device.mount_point is not None
        self.point = device.mount_point
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.device.slow_reader", str(limit_s), device.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "reading\n"
        (self.guard,) = guards(self.point)

    def end(self) -> str:
        """What it says of the content once it may go on; AssertionError if anything stays frozen, or anybody stays."""
        said, _ = self.process.communicate("\n", timeout=60)
        wait_until(lambda: not is_frozen(self.point))
        wait_until(lambda: not guards(self.point))
        return said.strip()


def test_frozen_while_it_is_read(device: LoopDevice) -> None:
    """Otherwise all the rest here would test nothing."""
    slow = SlowReader(device)
    assert is_frozen(slow.point)
    assert slow.end() == "whole"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_thawed_when_the_reader_dies(device: LoopDevice, number: signal.Signals) -> None:
    """A server that hangs in every write until somebody finds out why is worse than no backup."""
    slow = SlowReader(device)
    slow.process.send_signal(number)
    slow.process.wait()
    assert slow.end() == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_thawed_when_the_guard_dies(device: LoopDevice, number: signal.Signals) -> None:
    """And what was read while nothing was frozen is no backup."""
    slow = SlowReader(device)
    os.kill(slow.guard, number)
    wait_until(lambda: not is_frozen(slow.point))
    assert slow.end() == f"{slow.point}: was thawed before all was read: the process that kept it frozen was ended"


def test_thawed_when_it_takes_too_long(device: LoopDevice) -> None:
    """A repository that does not answer must not stop the server that is backed up."""
    slow = SlowReader(device, limit_s=2)
    wait_until(lambda: not is_frozen(slow.point))
    assert slow.end().startswith(f"{slow.point}: was frozen for 2 s and had to be thawed before all was read")


def test_thawed_when_the_reader_stands_still(device: LoopDevice) -> None:
    """Stopped, or waiting for a disk for ever: the limit holds without it."""
    slow = SlowReader(device, limit_s=2)
    slow.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not is_frozen(slow.point))
    slow.process.send_signal(signal.SIGCONT)
    assert slow.end().startswith(f"{slow.point}: was frozen for 2 s")


def test_thawed_by_somebody_else(device: LoopDevice) -> None:
    """An administrator who helps himself: the copy is torn, and must not pass for whole."""
    slow = SlowReader(device)
    assert thaw(slow.point)
    assert slow.end() == f"{slow.point}: was thawed by somebody else before all was read"


def test_two_that_are_on_one(device: LoopDevice) -> None:
    """A disk and an image that lead to the same file system: it stays frozen until both are read."""
    assert device.mount_point is not None
    mounts = [mount for mount in all_mounts() if mount.point == str(device.mount_point)]
    freezer = Freezer(LIMIT_S)
    first, second = freezer.freeze(mounts), freezer.freeze(mounts)
    assert len(guards(device.mount_point)) == 1
    first.release()
    assert is_frozen(device.mount_point)
    second.release()
    assert not is_frozen(device.mount_point)
    assert (first.problem, second.problem) == (None, None)


def test_frozen_already(runs: Runs, device: LoopDevice) -> None:
    """Whoever froze it relies on that: it is not ours to thaw."""
    assert device.mount_point is not None
    fd = os.open(device.mount_point, os.O_RDONLY)
    try:
        guard.freeze(fd)
        said = runs.refused(*FREEZE, f"device://{device.path}")
    finally:
        os.close(fd)
    assert f"{device.mount_point}: cannot be frozen: Device or resource busy (somebody has frozen it already" in said
    assert thaw(device.mount_point)


@pytest.mark.parametrize("place", ["LIMPET_REPOSITORY", "LIMPET_CACHE_DIR", "TMPDIR"])
def test_what_holds_the_run_itself_is_not_frozen(runs: Runs, device: LoopDevice, place: str) -> None:
    """The backup would wait for the file system, and the file system for the backup."""
    assert device.mount_point is not None
    own = device.mount_point / "below/own"
    runs.variables[place] = str(own)
    own.parent.mkdir()
    if place == "TMPDIR":
        own.mkdir()
    if place == "LIMPET_REPOSITORY":
        shutil.move(runs.repository, own)
        runs.repository = own
    said = runs.refused(*FREEZE, f"device://{device.path}")
    assert f"{device.mount_point} cannot be frozen: {own} is on it" in said
    assert not guards(device.mount_point)


def test_the_output_is_not_written_to_what_is_frozen(runs: Runs, device: LoopDevice) -> None:
    """The first progress line would wait for ever."""
    assert device.mount_point is not None
    log = device.mount_point / "log"
    with log.open("w") as output:
        command = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]
        done = subprocess.run(
            [*command, "backup", *FREEZE, f"device://{device.path}"],
            env=runs.variables,
            stdout=output,
            stderr=output,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert "the output of this backup is written to it" in log.read_text()


def test_nothing_is_frozen_for_what_is_not_mounted(runs: Runs, device: LoopDevice) -> None:
    """The option may stand in a profile for all devices."""
    device.unmount()
    runs.run("backup", *FREEZE, f"device://{device.path}")
    assert runs.restored(f"/device{device.path}") == device.path.read_bytes()


def test_a_backup_that_is_interrupted(tmp_path: Path, runs: Runs) -> None:
    """Ctrl-C and `systemctl stop` in the middle of a real run: no snapshot, and the file system is written to again."""
    with LoopDevice(tmp_path / "large.img", 160 * MIB) as loop:
        point = loop.make("ext4").mount(tmp_path / "mounted")
        (point / "file").write_bytes(os.urandom(130 * MIB))  # more than fits into all buffers of a run
        slowly = ("--limit-upload", "50", "--read-concurrency", "1")
        runs.stopped(*FREEZE, *slowly, f"device://{loop.path}", at=lambda: bool(guards(point)))
        wait_until(lambda: not guards(point))
        (point / "file").write_bytes(b"goes on")
        assert not is_frozen(point)
