"""Real block devices over image files, and file systems on them: for root, where the kernel has loop devices."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path
from typing import Self

from tests.services.closing import Closing
from tests.services.process import program, unavailable

MIB = 1024 * 1024
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


class LoopDevice(Closing):
    """A loop device over an image of this size, made sparse where it does not exist. Unmounted and gone afterwards."""

    def __init__(self, image: Path, size_bytes: int = 0, *, read_only: bool = False) -> None:
        if os.geteuid() != 0:
            unavailable("loop devices need root")
        if not image.exists():
            image.touch()
            os.truncate(image, size_bytes)
        options = ["--read-only"] if read_only else []
        command: list[str | Path] = [program("losetup"), "--find", "--show", *options, image]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            unavailable(f"no loop device is to be had: {done.stderr.strip()}")
        self.image = image
        self.path = Path(done.stdout.strip())
        self.mount_point: Path | None = None

    def make(self, kind: str, *options: str) -> Self:
        """A file system on it."""
        force = "-f" if kind == "xfs" else "-F"
        run(f"mkfs.{kind}", "-q", force, *options, self.path)
        return self

    def mount(self, point: Path, options: str = "rw") -> Path:
        """Mount it; the folder is made."""
        point.mkdir(exist_ok=True)
        run("mount", "-o", options, self.path, point)
        self.mount_point = point
        return point

    def unmount(self) -> None:
        """Unmount it; thawed before, if it has been left frozen."""
        if self.mount_point is not None:
            thaw(self.mount_point)
            run("umount", self.mount_point)
            self.mount_point = None

    def close(self) -> None:
        """Unmount and detach it. Idempotent."""
        self.unmount()
        if self.path != Path():
            run("losetup", "--detach", self.path)
            self.path = Path()


def is_frozen(point: Path) -> bool:
    """Whether the mounted file system is frozen: only what is not can be. Not while anybody is about to freeze it."""
    fd = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
    except OSError as error:
        return error.errno == errno.EBUSY
    finally:
        os.close(fd)
    thaw(point)
    return False


def thaw(point: Path) -> bool:
    """Thaw it; whether it was frozen."""
    fd = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FITHAW, 0)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def run(*command: str | Path) -> str:
    """What it printed; AssertionError if it failed."""
    name, *words = [str(word) for word in command]
    done = subprocess.run([program(name), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
