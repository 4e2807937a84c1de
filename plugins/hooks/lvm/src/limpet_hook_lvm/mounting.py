"""Snapshots mounted where nobody else can look: read-only, in a folder of our own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from limpet.contracts.mounts import mounts
from limpet.errors import HookError

from limpet_hook_lvm.volumes import RunProgram

FOLDER = "/run/limpet"
"""Empty after a restart, and not on the volumes that are backed up."""
TRIES, PAUSE_S = 20, 0.25
"""Something else on the machine may look at a new file system for a moment."""
_INNER = "mounted"
_SAFE = ("ro", "nosuid", "nodev", "noexec")
_MORE: dict[str, Sequence[str]] = {"xfs": ("nouuid",)}
"""XFS refuses to mount two file systems with one UUID, which a snapshot and its origin have."""


class PrivateMounts:
    """Mounts by name below one folder."""

    def __init__(self, run_program: RunProgram, folder: str, more_options: str) -> None:
        self._run = run_program
        self._folder = Path(folder)
        self._more_options = [option for option in more_options.split(",") if option]

    def mounted(self, name: str, device: str, kind: str) -> str:
        """The folder with the file system that is on the device; mounted if it is not yet."""
        place = self._folder / name / _INNER
        if not _is_mounted(place):
            try:
                # What is mounted lets in whom its own root folder lets in; the folder around it nobody else.
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                place.parent.mkdir(mode=0o700)
                place.mkdir()
            except OSError as error:
                raise HookError(f"no folder to mount a snapshot in: {place}: {error.strerror}") from error
            options = ",".join([*_SAFE, *_MORE.get(kind, ()), *self._more_options])
            self._run("mount", "-t", kind, "-o", options, device, str(place))
        return str(place)

    def unmount(self, name: str) -> None:
        """Undo it, wherever it is mounted, and remove the folders. HookError if it is in use for long."""
        places = {self._folder / name / _INNER}
        for mount in reversed(mounts()):
            place = Path(mount.folder)
            if (place.parent.name, place.name) == (name, _INNER):
                self._patiently("umount", mount.folder)
                places.add(place)
        for place in places:
            for folder in (place, place.parent):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise HookError(f"{folder}, where a snapshot was mounted: {error.strerror}") from error

    def _patiently(self, *argv: str) -> None:
        for tries in range(TRIES):
            try:
                self._run(*argv)
            except HookError as error:
                if "busy" not in str(error) or tries + 1 == TRIES:
                    raise
                time.sleep(PAUSE_S)
            else:
                return


def _is_mounted(place: Path) -> bool:
    return any(mount.folder == str(place) for mount in mounts())
