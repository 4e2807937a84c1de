"""`BtrfsHook`: a read-only snapshot of each subvolume that something is read from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from limpet.contracts.freezing import Found, FreezingHook
from limpet.contracts.mounts import Mount, is_below, mount_of, mounts, place_of
from limpet.contracts.options import Option, Options
from limpet.contracts.snapshot_names import is_snapshot_name
from limpet.errors import HookError

ROOT_INODE = 256
"""The root folder of every subvolume has this inode, and nothing else does (`BTRFS_FIRST_FREE_OBJECTID`)."""
NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Subvolume:
    """A subvolume by its root folder, and where its snapshots go: a folder on the same file system."""

    folder: str
    snapshots: str


class BtrfsHook(FreezingHook[Subvolume]):
    """Has files and folders on Btrfs read from a snapshot of their subvolume."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        *FreezingHook.options,
        Option("folder", "where snapshots go, on the same file system; otherwise in the subvolume's own root folder"),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._folder = str(options.get("folder") or "")
        self._frozen: dict[str, Subvolume] = {}

    def find(self, path: str, scheme: str) -> Found[Subvolume] | None:
        """The subvolume that holds a file or folder, wherever the file system is mounted."""
        place = place_of(path)
        table = mounts()
        mount = mount_of(place, table)
        if mount is None or mount.kind != "btrfs":
            return None
        folder, inside = _root_of(place, mount, table)
        self._frozen[place] = Subvolume(folder, self._folder or folder)
        return Found(self._frozen[place], inside)

    def freeze(self, volume: Subvolume, name: str) -> None:
        """Make the snapshot, read-only."""
        self.run_program("btrfs", "subvolume", "snapshot", "-r", volume.folder, _snapshot(volume, name))

    def place(self, volume: Subvolume, name: str, inside: str) -> str:
        """The path in the snapshot."""
        return os.path.normpath(os.path.join(_snapshot(volume, name), inside))

    def thaw(self, volume: Subvolume, name: str) -> None:
        """Delete the snapshot."""
        snapshot = _snapshot(volume, name)
        if os.path.lexists(snapshot):
            self.run_program("btrfs", "subvolume", "delete", snapshot)

    def snapshots(self, volume: Subvolume) -> Iterable[str]:
        """What has such a name in the folder for snapshots."""
        try:
            names = os.listdir(volume.snapshots)
        except OSError as error:
            raise HookError(f"the folder for snapshots, {volume.snapshots}: {error.strerror}") from error
        return [name[1:] for name in names if name.startswith(".") and is_snapshot_name(name[1:])]

    def verify(self, volume: Subvolume, name: str) -> None:
        """Warn of subvolumes inside what was read, empty folders in the snapshot. By now all arguments are known."""
        inner = self._inner(volume)
        for place, its_volume in self._frozen.items():
            lacking = [folder for folder in inner if is_below(folder, place) and folder not in self._frozen]
            if its_volume == volume and lacking:
                more = f" and {len(lacking) - NAMES_SHOWN} more" if len(lacking) > NAMES_SHOWN else ""
                self.reporter.warning(
                    f"{place} was read from a snapshot of its subvolume, which lacks the subvolumes inside:"
                    f" {', '.join(lacking[:NAMES_SHOWN])}{more}; to have one in the backup too, name it beside {place}"
                )

    def _inner(self, volume: Subvolume) -> list[str]:
        """The subvolumes inside one, by the paths at which they are found; snapshots of backups are none of them."""
        mount = mount_of(volume.folder, mounts())
        try:
            printed = self.run_program("btrfs", "subvolume", "list", "-o", volume.folder)
        except HookError as error:  # What was read is good all the same.
            self.reporter.warning(
                f"subvolumes inside {volume.folder}, which its snapshot lacks, are not known: {error}"
            )
            return []
        if mount is None:
            return []
        own = mount.inside(volume.folder)
        found = []
        for line in printed.splitlines():
            path = "/" + line.partition(" path ")[2]  # from the root of the file system
            if is_below(path, own) and not is_snapshot_name(os.path.basename(path)[1:]):
                found.append(os.path.normpath(os.path.join(volume.folder, os.path.relpath(path, own))))
        return sorted(found)


def _snapshot(volume: Subvolume, name: str) -> str:
    return os.path.join(volume.snapshots, "." + name)


def _root_of(place: str, mount: Mount, table: Sequence[Mount]) -> tuple[str, str]:
    """The root folder of the subvolume that a path is in, and the path from there. HookError if it is not mounted."""
    inside = mount.inside(place)
    same = [mount, *(other for other in table if other.device == mount.device and other.kind == mount.kind)]
    for view in same:
        if not is_below(inside, view.root):
            continue
        start = os.path.normpath(os.path.join(view.folder, os.path.relpath(inside, view.root)))
        folder = start
        while is_below(folder, view.folder):
            if _is_root(folder) and mount_of(folder, table) == view:
                return folder, os.path.relpath(start, folder)
            if folder == "/":
                break
            folder = os.path.dirname(folder)
    raise HookError(f"{place}: only a folder of its subvolume is mounted; mount the subvolume itself somewhere")


def _is_root(folder: str) -> bool:
    try:
        return os.lstat(folder).st_ino == ROOT_INODE
    except OSError:
        return False
