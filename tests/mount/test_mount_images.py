"""Live recovery: a device that was backed up is mounted straight out of the mount, without restoring it first."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.mounting import JUDGED, Mounts, is_mounted
from tests.services.loop_device import MIB, LoopDevice
from tests.services.process import program
from tests.trees import facts

SIZES = {"ext4": 40 * MIB, "xfs": 320 * MIB}
"""xfs is not made smaller than 300 MiB."""
OPTIONS = {"ext4": "loop,ro", "xfs": "loop,ro,nouuid"}


@contextmanager
def mounted_image(image: Path, point: Path, options: str) -> Iterator[Path]:
    """The file system of the image, mounted as a user does it."""
    point.mkdir()
    subprocess.run([program("mount"), "-o", options, image, point], check=True, capture_output=True)
    try:
        yield point
    finally:
        subprocess.run([program("umount"), point], check=True, capture_output=True)


@pytest.mark.parametrize("kind", list(SIZES))
def test_file_system_of_a_device(mounts: Mounts, tmp_path: Path, kind: str) -> None:
    """The file system in a backup is used at once: what is read of it is all that is fetched."""
    with LoopDevice(tmp_path / "disk.img", SIZES[kind]) as device:
        folder = device.make(kind).mount(tmp_path / "original")
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "large").write_bytes(os.urandom(5 * MIB))
        (folder / "small").write_text("a few words")
        (folder / "link").symlink_to("small")
        os.link(folder / "small", folder / "hard")
        os.setxattr(folder / "small", "user.note", b"kept")
        for number in range(300):
            (folder / "deep" / f"file {number}").write_text(str(number))
        expected = facts(folder)
        device.unmount()
        path = device.path
        mounts.site.run("backup", f"device:{path}")
        expected = {name: fact for name, fact in expected.items() if not name.startswith(b"/lost+found")}
        mount = mounts.start()
        image = mount.point / "snapshots" / "latest" / "device" / str(path).lstrip("/")
        assert image.stat().st_size == SIZES[kind]
        with mounted_image(image, tmp_path / "recovered", OPTIONS[kind]) as recovered:
            found = facts(recovered)
            assert {name: fact for name, fact in found.items() if not name.startswith(b"/lost+found")} == expected
            with pytest.raises(OSError, match="Read-only file system"):
                (recovered / "small").write_text("changed")
        assert mount.end().code == 0
    assert mounts.site.files("locks") == set()


def test_ending_below_a_mounted_image(mounts: Mounts, tmp_path: Path) -> None:
    """Ctrl-C while an image out of the mount is still mounted: the program ends, and the image can be unmounted."""
    with LoopDevice(tmp_path / "disk.img", SIZES["ext4"]) as device:
        folder = device.make("ext4").mount(tmp_path / "original")
        (folder / "small").write_text("a few words")
        device.unmount()
        path = device.path
        mounts.site.run("backup", f"device:{path}")
        mount = mounts.start()
        image = mount.point / "snapshots" / "latest" / "device" / str(path).lstrip("/")
        with mounted_image(image, tmp_path / "recovered", "loop,ro") as recovered:
            assert (recovered / "small").read_text() == "a few words"
            if JUDGED:
                return
            ended = mount.end()
            assert ended.code == 0, ended.err
        assert not is_mounted(tmp_path / "recovered")
    assert mounts.site.files("locks") == set()
