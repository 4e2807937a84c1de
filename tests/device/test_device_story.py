"""The story that goes wrong with `cat /dev/sdb1 | restic backup --stdin`: a file system in use, backed up as a whole.

Frozen while it is read, it is one moment of the device: it mounts again, the check of the file system finds nothing,
and all that was in it is there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.services.loop_device import MIB, LoopDevice, run
from tests.services.process import program
from tests.sources.runs import PASSWORD, Runs

SIZES = {"ext4": 40 * MIB, "xfs": 320 * MIB}
"""xfs is not made smaller than 300 MiB."""
CHECKS = {"ext4": ["fsck.ext4", "-f", "-n"], "xfs": ["xfs_repair", "-n"]}
MOUNT_BESIDE = {"ext4": "rw", "xfs": "rw,nouuid"}
"""How a copy is mounted while the original is."""


@pytest.fixture(params=["ext4", "xfs"])
def kind(request: pytest.FixtureRequest) -> str:
    """A file system."""
    return str(request.param)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A repository."""
    return Runs(tmp_path / "runs", {"XDG_STATE_HOME": str(tmp_path / "state")})


@pytest.fixture
def device(tmp_path: Path, kind: str) -> Iterator[LoopDevice]:
    """A device with a file system, mounted."""
    program(CHECKS[kind][0])
    with LoopDevice(tmp_path / "device.img", SIZES[kind]) as loop:
        loop.make(kind).mount(tmp_path / "mounted")
        yield loop


@contextmanager
def writer(folder: Path) -> Iterator[threading.Event]:
    """Somebody who writes, removes and renames all the time; the event is set whenever he has done so."""
    ended, wrote = threading.Event(), threading.Event()

    def work() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            file = folder / f"busy-{number % 50}"
            file.write_bytes(os.urandom(30_000))
            file.rename(folder / f"moved-{number % 7}")
            (folder / f"moved-{(number + 1) % 7}").unlink(missing_ok=True)
            wrote.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield wrote
    finally:
        ended.set()
        thread.join()


def fill(folder: Path) -> dict[str, bytes]:
    """Files that stay as they are: what each holds, by its path."""
    files = {"small": b"x", "empty": b"", "folder/large": os.urandom(3 * MIB), "folder/holes": bytes(MIB) + b"end"}
    (folder / "folder").mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return files


def assert_holds(loop: LoopDevice, point: Path, kind: str, files: dict[str, bytes]) -> None:
    """The device mounts, holds the files, and is found to be in order."""
    loop.mount(point, MOUNT_BESIDE[kind])
    assert {name: (point / name).read_bytes() for name in files} == files
    loop.unmount()
    run(*CHECKS[kind], loop.path)
    loop.mount(point, f"ro,{MOUNT_BESIDE[kind]}".replace("rw,", "").replace(",rw", ""))
    assert {name: (point / name).read_bytes() for name in files} == files
    loop.unmount()


def test_a_mounted_device_comes_back(
    tmp_path: Path, kind: str, runs: Runs, device: LoopDevice, restic_new: Restic
) -> None:
    """This is what the source is for."""
    assert device.mount_point is not None
    files = fill(device.mount_point)
    # The system keeps what was read through the device, as the backup of yesterday did. It is not to be read again.
    run("sync")
    device.path.read_bytes()
    files["folder/late"] = os.urandom(2 * MIB)
    (device.mount_point / "folder/large").write_bytes(files["folder/large"][::-1])
    files["folder/large"] = files["folder/large"][::-1]
    (device.mount_point / "folder/late").write_bytes(files["folder/late"])

    with writer(device.mount_point) as wrote:
        said = runs.run("backup", "-o", "device.freeze=true", f"device://{device.path}")
        wrote.clear()
        assert wrote.wait(30), "it is frozen still"
    assert "torn" not in said

    restic_new.run("check", "--read-data", repo=runs.repository, password=PASSWORD)
    restic_new.run("restore", "latest", "--target", tmp_path / "restored", repo=runs.repository, password=PASSWORD)
    image = tmp_path / f"restored/device{device.path}"
    assert image.stat().st_size == SIZES[kind]
    with LoopDevice(image) as restored:
        assert_holds(restored, tmp_path / "by-restic", kind, files)

    with LoopDevice(tmp_path / "other.img", SIZES[kind]) as other:
        other.make("ext4")  # something to be written over
        said = runs.run("restore", "latest", "--into", f"device://{other.path}", "-o", "device.verify=true")
        assert_holds(other, tmp_path / "by-limpet", kind, files)


def test_a_mounted_device_is_refused(kind: str, runs: Runs, device: LoopDevice) -> None:
    """What `cat` makes of it looks like a backup, and is none."""
    said = runs.refused(f"device://{device.path}")
    assert f"{device.path}: mounted at {device.mount_point} ({kind})" in said
    for way_out in ("device.freeze=true", "device.allow_mounted=true", "Unmount"):
        assert way_out in said
    assert device.image.name in runs.refused(f"device:{device.image}")
