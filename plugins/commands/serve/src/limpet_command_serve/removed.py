"""What clients removed while a retention lock is on, kept for some days: `.removed/DATE/REPOSITORY/...`.

The folders below are those of the repository, so one copy brings everything back:
`cp -an .removed/*/REPOSITORY/. REPOSITORY/`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

REMOVED = ".removed"


def keep_removed(root: Path, folders: Sequence[str], path: Path, now_s: float) -> None:
    """Move a file of the repository to where removed ones are kept. FileNotFoundError if it is gone, or OSError."""
    repository = root.joinpath(*folders)
    place = root.joinpath(REMOVED, _day(now_s).isoformat(), *folders, path.relative_to(repository))
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.replace(path, place)
    for folder in (place.parent, path.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def purge_removed(root: Path, days: int, now_s: float) -> list[Path]:
    """Delete for good what was removed more than that many days ago; the folders that went. OSError as it comes.

    A day counts from its end on: nothing goes too early.
    """
    gone = []
    for folder in sorted(_day_folders(root)):
        if date.fromisoformat(folder.name) + timedelta(days=days + 1) <= _day(now_s):
            shutil.rmtree(folder)
            gone.append(folder)
    return gone


def _day_folders(root: Path) -> list[Path]:
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
