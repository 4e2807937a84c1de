"""What is remembered of each snapshot, so that the next backup knows what has changed since: one small file each."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limpet.errors import SourceError

KEPT_SNAPSHOTS = 200
"""Files of older ones are removed: who backs up hourly has a week to go back."""

Memory = Mapping[str, Any]
"""What a way of following changes wants to know again; JSON."""


def default_folder() -> Path:
    """The user's folder for such things."""
    import platformdirs  # noqa: PLC0415  # only where changes are followed

    return Path(platformdirs.user_state_dir("limpet", appauthor=False)) / "device"


class Memories:
    """The files in a folder, by the snapshot's id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, snapshot_id: str) -> dict[str, Memory]:
        """What was kept with the snapshot, by path: all that is there and makes sense."""
        try:
            found = json.loads(self._file(snapshot_id).read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        memories = found.items() if isinstance(found, dict) else ()
        return {path: memory for path, memory in memories if _makes_sense(memory)}

    def keep(self, snapshot_id: str, memories: Mapping[str, Memory]) -> None:
        """Write it down, whole or not at all; SourceError if that is not possible."""
        file = self._file(snapshot_id)
        draft = file.with_suffix(f".tmp{os.getpid()}")
        try:
            # Who can write here can make a backup leave out what has changed.
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
                json.dump(memories, output)
                output.flush()
                os.fsync(output.fileno())
            draft.replace(file)
        except OSError as error:
            raise SourceError(f"{file}: what has changed cannot be followed: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
        self._remove_old()

    def _file(self, snapshot_id: str) -> Path:
        return self._folder / f"{snapshot_id}.json"

    def _remove_old(self) -> None:
        with contextlib.suppress(OSError):
            files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
            for file in files[:-KEPT_SNAPSHOTS]:
                file.unlink(missing_ok=True)


def _makes_sense(memory: object) -> bool:
    """Whether its lists are of the shapes in which they are written; the rest is compared only."""
    return (
        isinstance(memory, dict)
        and _are_rows(memory.get("samples"), (int, int, str))
        and _are_rows(memory.get("written", []), (int, int))
    )


def _are_rows(found: object, kinds: Sequence[type]) -> bool:
    return isinstance(found, list) and all(
        isinstance(row, list)
        and len(row) == len(kinds)
        and all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True))
        and all(value >= 0 for value in row if isinstance(value, int))
        for row in found
    )
