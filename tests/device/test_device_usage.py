"""Who uses a device: all that could write to it while it is read is found, or the copy would be torn unnoticed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limpet.contracts.source import SourceRequest
from limpet.errors import UsageError
from limpet.progress import SilentReporter
from limpet_source_device import DeviceSource

from tests.services.loop_device import MIB, LoopDevice, run


@pytest.fixture
def device(tmp_path: Path) -> Iterator[LoopDevice]:
    """One with a file system, not mounted."""
    with LoopDevice(tmp_path / "device.img", 20 * MIB) as loop:
        yield loop.make("ext4")


@contextmanager
def mounted_elsewhere(device: Path, point: Path) -> Iterator[None]:
    """Mounted where this process does not see it, as by a container."""
    point.mkdir()
    script = 'mount "$1" "$2" && echo mounted && read line'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", device, point]
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mounted\n"
        yield
    finally:
        process.communicate(b"\n")


def open_and_close(place: Path, *, allow: bool = False) -> list[str]:
    """What is warned of when it is backed up; UsageError if it is refused."""

    class Listening(SilentReporter):
        def warning(self, text: str) -> None:
            warnings.append(text)

    warnings: list[str] = []
    source = DeviceSource.open(SourceRequest([str(place)], {"allow_mounted": allow}, reporter=Listening()))
    try:
        (target,) = source.targets()
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            stream.read(1)
    finally:
        source.close()
    return warnings


def test_a_mount_of_another_container(device: LoopDevice, tmp_path: Path) -> None:
    """The list of mounts does not have it; the kernel knows all the same."""
    with mounted_elsewhere(device.path, tmp_path / "elsewhere"):
        for place in (device.path, device.image):
            with pytest.raises(UsageError, match="not to be seen from here, such as a mount of another container"):
                open_and_close(place)
            assert any("the copy be torn" in text for text in open_and_close(place, allow=True))
    run("sync")
    assert open_and_close(device.path) == []


def test_a_part_of_an_image_that_is_mounted(tmp_path: Path) -> None:
    """An image of a whole disk is in use if one of its partitions is."""
    with LoopDevice(tmp_path / "disk.img", 40 * MIB) as disk:
        offset, size = 2048 * 512, 32768 * 512
        part = run("losetup", "--find", "--show", "--offset", str(offset), "--sizelimit", str(size), disk.image).strip()
        try:
            run("mkfs.ext4", "-q", part)
            point = tmp_path / "mounted"
            point.mkdir()
            run("mount", part, point)
            try:
                with pytest.raises(UsageError, match=f"mounted at {point}"):
                    open_and_close(disk.image)
            finally:
                run("umount", point)
        finally:
            run("losetup", "--detach", part)


def test_mounted_to_be_read_only(device: LoopDevice, tmp_path: Path) -> None:
    """Nothing changes in it: the usual state of a restored copy that is looked at."""
    device.mount(tmp_path / "mounted", "ro")
    assert open_and_close(device.path) == []
    assert open_and_close(device.image) == []


def test_a_mount_point_with_a_space(device: LoopDevice, tmp_path: Path) -> None:
    """The kernel writes it in another way; `/srv/My Data` is where people have their data."""
    device.mount(tmp_path / "my data\\x")
    with pytest.raises(UsageError) as caught:
        open_and_close(device.path)
    assert f"mounted at {tmp_path}/my data\\x (ext4)" in str(caught.value)


def test_taken_over_while_the_backup_runs(device: LoopDevice, tmp_path: Path) -> None:
    """Mounted between the start of a long backup and the device's turn in it."""
    source = DeviceSource.open(SourceRequest([str(device.path)]))
    device.mount(tmp_path / "mounted")
    (target,) = source.targets()
    assert target.entry.stream is not None
    with pytest.raises(Exception, match="mounted at") as caught:
        target.entry.stream()
    assert type(caught.value).__name__ == "SourceError"
    source.close()


def test_what_only_root_may_read(device: LoopDevice) -> None:
    """The message says what is wrong, not that there is no such device."""
    with pytest.raises(UsageError, match="No such file or directory"):
        open_and_close(Path("/dev/no-such-disk"))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgroups([])
            os.setuid(65534)
            open_and_close(device.path)
        except UsageError as error:
            code = 0 if "Permission denied" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
