"""`ZfsHook`: a snapshot of each dataset that something is read from, by the `.zfs` folder that ZFS shows it in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from limpet.contracts.freezing import Found, FreezingHook
from limpet.contracts.mounts import TABLE, mount_of, mounts, place_of
from limpet.contracts.options import Option, Options
from limpet.contracts.snapshot_names import is_snapshot_name
from limpet.errors import HookError

TRIES, PAUSE_S = 20, 0.25
"""A snapshot that ZFS has mounted by itself is in use until it has noticed that nobody looks any more."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file system by its name in the pool, and where its root folder is."""

    name: str
    folder: str

    def snapshot(self, name: str) -> str:
        """The name of one of its snapshots."""
        return f"{self.name}@{name}"

    def snapshot_folder(self, name: str) -> str:
        """Where ZFS shows it; there also where the property `snapdir` hides it from listings."""
        return os.path.join(self.folder, ".zfs/snapshot", name)


class ZfsHook(FreezingHook[Dataset]):
    """Has files and folders on ZFS read from a snapshot of their dataset."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = FreezingHook.options
    mount_table: ClassVar[str] = TABLE
    """Which table of mounts is looked at."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._held: dict[str, int] = {}

    def find(self, path: str, scheme: str) -> Found[Dataset] | None:
        """The dataset that holds a file or folder."""
        place = place_of(path)
        table = mounts(self.mount_table)
        mount = mount_of(place, table)
        if mount is None or mount.kind != "zfs":
            return None
        whole = [other for other in table if other.source == mount.source and other.root == "/"]
        if not whole:
            raise HookError(
                f"{place}: only a folder of the dataset {mount.source} is mounted; mount all of it somewhere"
            )
        return Found(Dataset(mount.source, whole[0].folder), mount.inside(place))

    def freeze(self, volume: Dataset, name: str) -> None:
        """Make the snapshot, and keep ZFS from unmounting it while nobody happens to look."""
        self.run_program("zfs", "snapshot", volume.snapshot(name))
        folder = volume.snapshot_folder(name)
        try:
            # Only a look inside mounts it; the open folder holds it.
            self._held[name] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            os.listdir(self._held[name])
        except OSError as error:
            raise HookError(f"the snapshot {volume.snapshot(name)} is not at {folder}: {error.strerror}") from error

    def place(self, volume: Dataset, name: str, inside: str) -> str:
        """The path in the snapshot."""
        return os.path.normpath(volume.snapshot_folder(name) + inside)

    def thaw(self, volume: Dataset, name: str) -> None:
        """Destroy the snapshot."""
        if name in self._held:
            with suppress(OSError):
                os.close(self._held.pop(name))
        if name not in self.snapshots(volume):
            return
        for tries in range(TRIES):
            try:
                self.run_program("zfs", "destroy", volume.snapshot(name))
            except HookError as error:
                if "busy" not in str(error) or tries + 1 == TRIES:
                    raise
                time.sleep(PAUSE_S)
            else:
                return

    def snapshots(self, volume: Dataset) -> Iterable[str]:
        """What has such a name among the dataset's snapshots, not those of datasets below it."""
        printed = self.run_program("zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-d", "1", volume.name)
        names = [line.partition("@")[2] for line in printed.splitlines()]
        return [name for name in names if is_snapshot_name(name)]
