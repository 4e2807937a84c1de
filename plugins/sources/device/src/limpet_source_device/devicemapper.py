"""Questions to the device mapper, through `dmsetup`: what a device is made of, how it is, messages to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet.errors import SourceError

SECTOR = 512
_SEARCHED = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where such tools are, also for who has none of it in PATH."""


@dataclass(frozen=True, slots=True)
class MappedDevice:
    """A device of the device mapper that is one piece of a kind: `era`, `thin`, ..."""

    number: str
    """`MAJOR:MINOR`."""
    name: str
    kind: str
    length_sectors: int
    arguments: Sequence[str]
    """Of its table, behind the kind."""

    def uuid(self) -> str:
        """Its UUID, which LVM gives to all of its own; empty if it has none."""
        try:
            return (Path("/sys/dev/block") / self.number / "dm/uuid").read_text().strip()
        except OSError:
            return ""

    def status(self) -> list[str]:
        """The words of its status behind the kind."""
        return run(["dmsetup", "status", self.name]).split()[3:]

    def tell(self, *message: str) -> None:
        """Send it a message."""
        run(["dmsetup", "message", self.name, "0", *message])


def mapped_device(number: str) -> MappedDevice | None:
    """The device of this number; None if it is not of the device mapper, or put together of several pieces."""
    try:
        name = (Path("/sys/dev/block") / number / "dm/name").read_text().strip()
    except OSError:
        return None
    lines = run(["dmsetup", "table", name]).splitlines()
    if len(lines) != 1:
        return None
    begin, length, kind, *arguments = lines[0].split()
    return MappedDevice(number, name, kind, int(length), arguments) if begin == "0" else None


def device_file(number: str) -> str:
    """A path of the device of this number; SourceError if there is none."""
    if ":" not in number:
        return number
    try:
        name = (Path("/sys/dev/block") / number / "uevent").read_text().partition("DEVNAME=")[2].split("\n")[0]
        mapped = Path("/sys/dev/block") / number / "dm/name"
        places = [f"/dev/{name}"] + ([f"/dev/mapper/{mapped.read_text().strip()}"] if mapped.exists() else [])
    except OSError as error:
        raise SourceError(f"device {number}: {error.strerror}") from error
    for place in places:
        if os.path.exists(place):
            return place
    raise SourceError(f"device {number} has no file in /dev")


def run(argv: Sequence[str]) -> str:
    """What a command prints; SourceError with its last words if it fails or is not there."""
    program = shutil.which(argv[0]) or shutil.which(argv[0], path=_SEARCHED)
    if program is None:
        package = "dmsetup" if argv[0] == "dmsetup" else "thin-provisioning-tools"
        raise SourceError(f"the program {argv[0]} is not to be found: install it ({package})")
    try:
        done = subprocess.run([program, *argv[1:]], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise SourceError(f"failed to start {argv[0]}: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise SourceError(f"{argv[0]} failed: {said[-1]}")
    return done.stdout.decode(errors="replace")
