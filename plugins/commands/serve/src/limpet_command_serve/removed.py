"""What clients removed while a retention lock is on, kept for some days: `.removed/DATE/REPOSITORY/...`.

The folders below are those of the repository, so one copy brings everything back:
`cp -an .removed/*/REPOSITORY/. REPOSITORY/`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from limpet_command_serve.beneath import make_folders, opened_folder, sync_folder
from limpet_command_serve.folder_store import FolderStore, name_of
from limpet_command_serve.names import REMOVED, Folders, StoredFile
from limpet_command_serve.quota import Usage, count_folder
from limpet_command_serve.retention import RetentionDays


@dataclass(frozen=True, slots=True)
class Purged:
    """What went for good: the day on which it was removed, and how much it was."""

    day: str
    by_repository: Mapping[Folders, int]

    @property
    def size_bytes(self) -> int:
        return sum(self.by_repository.values())


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
        parts = (REMOVED, _day(self._now()).isoformat(), *self.parts(file))
        make_folders(self.root, parts, self.folder_mode)
        with opened_folder(self.root, parts) as place:
            os.replace(name_of(file), name_of(file), src_dir_fd=folder, dst_dir_fd=place)
            sync_folder(place)
        sync_folder(folder)


def purge_removed(root: Path, days: int, now_s: float) -> Iterator[Purged]:
    """Delete for good what was removed more than that many days ago, day by day. OSError as it comes.

    A day counts from its end on: nothing goes too early.
    """
    for folder in sorted(_day_folders(root)):
        if date.fromisoformat(folder.name) + timedelta(days=days + 1) <= _day(now_s):
            usage = Usage()
            count_folder(folder, usage)
            shutil.rmtree(folder)
            yield Purged(folder.name, usage.by_repository())


def _day_folders(root: Path) -> Sequence[Path]:
    try:
        folders = list((root / REMOVED).iterdir())
    except FileNotFoundError:
        return []
    return [folder for folder in folders if folder.is_dir() and _is_date(folder.name)]


def _is_date(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _day(now_s: float) -> date:
    return datetime.fromtimestamp(now_s, UTC).date()
