"""Who else uses a device or an image: file systems that are mounted from it, and whatever holds it otherwise."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet import filesystem

from limpet_source_device.volume import VolumeFacts, number_of

_SYS_BLOCK = Path("/sys/block")
_SYS_NUMBERS = Path("/sys/dev/block")
_MOUNTS = Path("/proc/self/mountinfo")
_SWAPS = Path("/proc/swaps")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system. `number` is `MAJOR:MINOR` of the device it is on."""

    point: str
    number: str
    kind: str
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """Who uses it."""

    mounts: Sequence[Mount]
    """File systems on it, on a part of it, or on what is made of it."""
    others: Sequence[str]
    """What else may write to it, in words."""

    @property
    def writable(self) -> list[Mount]:
        """Mounted to be written to; one place for each file system."""
        return list({mount.number: mount for mount in self.mounts if not mount.is_read_only}.values())

    def __str__(self) -> str:
        return ", ".join([f"mounted at {mount.point} ({mount.kind})" for mount in self.writable] + list(self.others))

    @property
    def words_for_all(self) -> str:
        """As its text, with what is mounted to be read only."""
        return ", ".join([f"mounted at {mount.point}" for mount in self.mounts] + list(self.others))


def usage_of(path: str, status: VolumeFacts) -> Usage:
    """Who uses what is at `path` now."""
    return _usage_of_device(path, status.number) if status.is_device else _usage_of_image(path)


def _usage_of_device(path: str, number: str) -> Usage:
    above = made_of({number})
    mounts = [mount for mount in all_mounts() if mount.number in above]
    if mounts or not _is_claimed(path):
        return Usage(mounts, ())
    return Usage((), [_who_holds(number, above)])


def _usage_of_image(path: str) -> Usage:
    loops = loops_over(path)
    if not loops:
        return Usage((), ["open for writing by another program"] if _has_writer(path) else ())
    used = [_usage_of_device(device, number) for number, device in loops.items()]
    return Usage([mount for usage in used for mount in usage.mounts], [text for usage in used for text in usage.others])


def all_mounts() -> list[Mount]:
    """The mounted file systems that this process sees. Source: proc_pid_mountinfo(5)."""
    mounts = []
    for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
        first, _, second = line.partition(" - ")
        _, _, number, _, point, *_ = first.split(" ")
        kind, source, options = second.split(" ")[:3]
        if number.startswith("0:") and source.startswith("/"):
            number = _number_at(_unescaped(source)) or number  # btrfs numbers its file systems itself
        mounts.append(Mount(_unescaped(point), number, kind, "ro" in options.split(",")))
    return mounts


def made_of(numbers: Iterable[str]) -> set[str]:
    """These devices, their partitions, and all that the device mapper or RAID makes of them."""
    found: set[str] = set()
    waiting = list(numbers)
    while waiting:
        number = waiting.pop()
        if number in found:
            continue
        found.add(number)
        folder = _SYS_NUMBERS / number
        above = [*folder.glob("*/partition"), *folder.glob("holders/*")]
        for place in above:
            about = place.parent / "dev" if place.name == "partition" else place / "dev"
            with contextlib.suppress(OSError):
                waiting.append(about.read_text().strip())
    return found


def loops_over(path: str) -> dict[str, str]:
    """The loop devices of an image file, by their numbers."""
    found = {}
    real = os.path.realpath(path)
    for place in _SYS_BLOCK.glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            file = place.read_text(errors="surrogateescape").rstrip("\n")
            if file.removesuffix(_DELETED) == real or _same_file(file, real):
                device = place.parent.parent
                found[(device / "dev").read_text().strip()] = f"/dev/{device.name}"
    return found


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _is_claimed(path: str) -> bool:
    """Whether somebody has the device for himself: a file system, also one of another container, swap, RAID, ..."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | filesystem.CLOSE_ON_EXEC | filesystem.NO_WAIT))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _who_holds(number: str, above: set[str]) -> str:
    swaps = [name for name in _swaps() if _number_at(name) in above]
    if swaps:
        return f"used as swap ({', '.join(swaps)})"
    holders = sorted(place.name for place in (_SYS_NUMBERS / number).glob("holders/*"))
    if holders:
        return f"held by {', '.join(holders)}"
    return "in use by something that is not to be seen from here, such as a mount of another container"


def _swaps() -> list[str]:
    try:
        return [_unescaped(line.split()[0]) for line in _SWAPS.read_text().splitlines()[1:] if line.strip()]
    except OSError:
        return []


def _has_writer(path: str) -> bool:
    """Whether anybody has the file open for writing: then no lease on it is to be had. False where nobody can tell."""
    fd = os.open(path, os.O_RDONLY | filesystem.CLOSE_ON_EXEC)
    try:
        # A signal that does nothing, instead of one that ends us, if somebody opens the file at just this moment.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False


def _number_at(path: str) -> str | None:
    try:
        return number_of(os.stat(path).st_rdev)
    except OSError:
        return None


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
