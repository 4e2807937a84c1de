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
from limpet_command_serve.folder_store import FolderStore, is_there, name_of
from limpet_command_serve.names import REMOVED, Folders, StoredFile
from limpet_command_serve.quota import folder_sizes, repository_folders
from limpet_command_serve.retention import RetentionDays

_UNTIL = "until-"


@dataclass(frozen=True, slots=True)
class Kept:
    """What was removed from a repository and is kept until the end of that day."""

    folders: Folders
    path: Path
    until: date

    def size_bytes(self) -> int:
        """How much it is now."""
        return sum(size_bytes for _, size_bytes in folder_sizes(self.path))

    def delete(self) -> None:
        """Delete it for good. OSError as it comes."""
        shutil.rmtree(self.path)


class KeepingStore(FolderStore):
    """A store of folders that puts aside what is removed, for as long as anybody's retention lock lasts."""

    def __init__(self, path: str, days: RetentionDays, now: Callable[[], float], *, for_group: bool = False) -> None:
        super().__init__(path, for_group=for_group)
        self._days = days
        self._now = now

    def discard(self, file: StoredFile, folder: int) -> bool:
        if not self._days.keeps(file.kind):
            return super().discard(file, folder)
        within = self.parts(file)[len(file.folders) :]
        until = _day(self._now()) + timedelta(days=self._days.longest())
        parts = (*file.folders, REMOVED, f"{_UNTIL}{until.isoformat()}", *within)
        make_folders(self.root, parts, self.folder_mode)
        with opened_folder(self.root, parts) as place:
            with self.placing:
                if is_there(name_of(file), place):  # Stored and removed again: what went first stays.
                    return super().discard(file, folder)
                os.rename(name_of(file), name_of(file), src_dir_fd=folder, dst_dir_fd=place)
            sync_folder(place)
        sync_folder(folder)
        return True


def kept_too_long(root: Path, now_s: float) -> Iterator[Kept]:
    """What need not be kept any more, the oldest of each repository first. OSError as it comes."""
    for folders, repository in repository_folders(root):
        for folder in _day_folders(repository / REMOVED):
            until = date.fromisoformat(folder.name.removeprefix(_UNTIL))
            if until < _day(now_s):
                yield Kept(folders, folder, until)


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
