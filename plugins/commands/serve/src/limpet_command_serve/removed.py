"""What clients removed while a retention lock is on, kept for some days: `.removed/until-DATE/...` in its repository.

The date is the last day on which it is kept. It is fixed when the file is removed: who takes a user or his lock away
later takes nothing from what was promised. The folders below are those of the repository, so one copy brings everything
back: `cp -an REPOSITORY/.removed/*/. REPOSITORY/`. Each repository has its own, for it may be on a disk of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from limpet_command_serve.beneath import make_folders, opened_folder, sync_folder
from limpet_command_serve.folder_store import FolderStore, name_of
from limpet_command_serve.names import REMOVED, Folders, StoredFile
from limpet_command_serve.quota import Usage, count_folder, repository_folders
from limpet_command_serve.retention import RetentionDays

_UNTIL = "until-"


@dataclass(frozen=True, slots=True)
class Purged:
    """What went for good: the repository, the last day on which it was kept, and how much it was."""

    folders: Folders
    until: str
    size_bytes: int


class KeepingStore(FolderStore):
    """A store of folders that puts aside what is removed, for as long as anybody's retention lock lasts."""

    def __init__(self, path: str, days: RetentionDays, now: Callable[[], float], *, for_group: bool = False) -> None:
        super().__init__(path, for_group=for_group)
        self._days = days
        self._now = now

    def discard(self, file: StoredFile, folder: int) -> None:
        if not self._days.keeps(file.kind):
            super().discard(file, folder)
            return
        within = self.parts(file)[len(file.folders) :]
        until = _day(self._now()) + timedelta(days=self._days.longest())
        parts = (*file.folders, REMOVED, f"{_UNTIL}{until.isoformat()}", *within)
        make_folders(self.root, parts, self.folder_mode)
        with opened_folder(self.root, parts) as place:
            os.replace(name_of(file), name_of(file), src_dir_fd=folder, dst_dir_fd=place)
            sync_folder(place)
        sync_folder(folder)


def purge_removed(root: Path, now_s: float) -> Iterator[Purged]:
    """Delete for good what need not be kept any more, day by day. OSError as it comes."""
    for folders, repository in repository_folders(root):
        for folder in _day_folders(repository / REMOVED):
            if date.fromisoformat(folder.name.removeprefix(_UNTIL)) < _day(now_s):
                usage = Usage()
                count_folder(folder, usage)
                shutil.rmtree(folder)
                yield Purged(folders, folder.name.removeprefix(_UNTIL), usage.used_bytes())


def _day_folders(removed: Path) -> list[Path]:
    """The folders of days, the oldest first. A link in the place of one is none."""
    if removed.is_symlink():
        return []
    try:
        folders = list(removed.iterdir())
    except FileNotFoundError:
        return []
    return sorted(folder for folder in folders if folder.is_dir() and not folder.is_symlink() and _is_day(folder.name))


def _is_day(name: str) -> bool:
    day = name.removeprefix(_UNTIL)
    try:
        return day != name and date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False


def _day(now_s: float) -> date:
    return datetime.fromtimestamp(now_s, UTC).date()
