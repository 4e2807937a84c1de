"""`LvmHook`: a snapshot of each logical volume that something is read from, mounted or as a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import ClassVar

from limpet.contracts.freezing import PATH, Found, FreezingHook
from limpet.contracts.mounts import mount_of, mounts, place_of
from limpet.contracts.options import Option, Options
from limpet.contracts.programs import run_program
from limpet.errors import HookError

from limpet_hook_lvm.mounting import FOLDER, PrivateMounts
from limpet_hook_lvm.volumes import LogicalVolume, Report, Volumes

DEVICE = "device"
"""The scheme of devices, which get the snapshot's device."""
_DEVICE_ITSELF = ""
"""Stands for the device where a path in its file system begins with a slash."""


class LvmHook(FreezingHook[LogicalVolume]):
    """Has what is on a logical volume, and the volume's device itself, read from a snapshot."""

    contract_version: ClassVar[int] = 1
    schemes: ClassVar[Sequence[str]] = (PATH, DEVICE)
    options: ClassVar[Sequence[Option]] = (
        *FreezingHook.options,
        Option(
            "size",
            "room of a snapshot for what is changed while it is read, as lvcreate takes it: `5G`, `20%ORIGIN`,"
            " `50%FREE`; thin volumes need none",
            default="20%ORIGIN",
        ),
        Option("folder", "where snapshots are mounted", default=FOLDER),
        Option("mount_options", "more options of mount, commas between", default=""),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._volumes = Volumes(self.run_program)
        self._mounts = PrivateMounts(
            self.run_program, str(options.get("folder") or FOLDER), str(options.get("mount_options") or "")
        )
        self._origins: dict[LogicalVolume, Report] = {}
        self._kinds: dict[LogicalVolume, str] = {}

    def run_program(self, *argv: str) -> str:
        """As the base's; what takes too long is not killed: a volume that stays suspended hangs all who write to it."""
        return run_program(argv, self._timeout_s, may_be_killed=False)

    def find(self, path: str, scheme: str) -> Found[LogicalVolume] | None:
        """The volume that a file or folder is on, or that a device is."""
        if scheme == DEVICE:
            return self._found(_device_of_argument(path), _DEVICE_ITSELF)
        place = place_of(path)
        mount = mount_of(place, mounts())
        # Two Btrfs of one UUID get mixed up in the kernel; for it there is the hook `btrfs`.
        if mount is None or mount.kind == "btrfs":
            return None
        found = self._found(mount.device, mount.inside(place))
        if found is not None:
            self._kinds[found.volume] = mount.kind
        return found

    def freeze(self, volume: LogicalVolume, name: str) -> None:
        """Make the snapshot; it is mounted when a path in it is asked for."""
        self._volumes.snapshot(self._origins[volume], name, str(self.settings.get("size")))

    def place(self, volume: LogicalVolume, name: str, inside: str) -> str:
        """The snapshot's device, or the path where it is mounted."""
        snapshot = LogicalVolume(volume.group, name)
        if inside == _DEVICE_ITSELF:
            return snapshot.device
        folder = self._mounts.mounted(name, snapshot.device, self._kinds[volume])
        return os.path.normpath(folder + inside)

    def verify(self, volume: LogicalVolume, name: str) -> None:
        """A snapshot that ran full has lost its content, and what was read of it may be of any moment."""
        snapshot = self._volumes.by_name(LogicalVolume(volume.group, name))
        if snapshot is None:
            raise HookError(f"the snapshot of {volume.full_name} is gone: somebody removed it while it was read")
        if snapshot.ran_full:
            raise HookError(
                f"the snapshot of {volume.full_name} ran full while it was read: give it more room with the option"
                f" lvm.size, which is {self.settings.get('size')}"
            )
        if snapshot.health:
            raise HookError(f"the snapshot of {volume.full_name} is damaged: lvs says {snapshot.health}")

    def thaw(self, volume: LogicalVolume, name: str) -> None:
        """Unmount the snapshot and remove it."""
        self._mounts.unmount(name)
        snapshot = LogicalVolume(volume.group, name)
        if self._volumes.by_name(snapshot) is not None:
            self._volumes.remove(snapshot)

    def snapshots(self, volume: LogicalVolume) -> Iterable[str]:
        """Those of the whole volume group."""
        return self._volumes.marked(volume.group)

    def _found(self, device: tuple[int, int] | None, inside: str) -> Found[LogicalVolume] | None:
        report = None if device is None else self._volumes.by_device(*device)
        if report is None:
            return None
        self._origins[report.volume] = report
        return Found(report.volume, inside)


def _device_of_argument(rest: str) -> tuple[int, int] | None:
    """The number of the block device that follows `device:`; None for an image and for what is not there."""
    try:
        status = os.stat(rest.removeprefix("//") if rest.startswith("///") else rest)
    except (OSError, ValueError):  # the source tells
        return None
    if not stat.S_ISBLK(status.st_mode):
        return None
    return os.major(status.st_rdev), os.minor(status.st_rdev)
