"""What clients removed while a retention lock is on, kept for some days: `.removed/DATE/...` in its repository.

The folders below are those of the repository, so one copy brings everything back:
`cp -an REPOSITORY/.removed/*/. REPOSITORY/`. Each repository has its own, for it may be on a disk of its own.
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


@dataclass(frozen=True, slots=True)
class Purged:
    """What went for good: the repository, the day on which it was removed, and how much it was."""

    folders: Folders
    day: str
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
        parts = (*file.folders, REMOVED, _day(self._now()).isoformat(), *within)
        make_folders(self.root, parts, self.folder_mode)
        with opened_folder(self.root, parts) as place:
            os.replace(name_of(file), name_of(file), src_dir_fd=folder, dst_dir_fd=place)
            sync_folder(place)
        sync_folder(folder)


def purge_removed(root: Path, days: int, now_s: float) -> Iterator[Purged]:
    """Delete for good what was removed more than that many days ago, day by day. OSError as it comes.

    A day counts from its end on: nothing goes too early.
    """
    for folders, repository in repository_folders(root):
        for folder in _day_folders(repository / REMOVED):
            if date.fromisoformat(folder.name) + timedelta(days=days + 1) <= _day(now_s):
                usage = Usage()
                count_folder(folder, usage)
                shutil.rmtree(folder)
                yield Purged(folders, folder.name, usage.used_bytes())


def _day_folders(removed: Path) -> list[Path]:
    """The folders of days, the oldest first. A link in the place of one is none."""
    if removed.is_symlink():
        return []
    try:
        folders = list(removed.iterdir())
    except FileNotFoundError:
        return []
    return sorted(folder for folder in folders if folder.is_dir() and not folder.is_symlink() and _is_date(folder.name))


def _is_date(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _day(now_s: float) -> date:
    return datetime.fromtimestamp(now_s, UTC).date()
