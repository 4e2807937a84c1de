"""How the last run ended, as a JSON file for whatever watches this machine: `-o statusfile.path=/run/backup.json`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import ClassVar

from limpet.contracts.hooks import Hook, RunInfo, RunResult, SnapshotDraft, hookimpl
from limpet.contracts.options import Option, Options
from limpet.errors import UsageError


class StatusFileHook(Hook):
    """Writes the file when a run ends, and tags every snapshot so that it can be told who wrote it."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("path", "the file to write", environment="LIMPET_STATUSFILE"),
        Option("tag", "a tag for every snapshot that is saved"),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if not options.get("path"):
            raise UsageError("statusfile.path says which file to write; give it with -o statusfile.path=FILE")

    @hookimpl
    def limpet_snapshot_saving(self, draft: SnapshotDraft) -> None:
        """Add the tag."""
        if tag := self.settings.get("tag"):
            draft.tags.append(str(tag))

    @hookimpl
    def limpet_run_finished(self, run: RunInfo, result: RunResult) -> None:
        """Write the good news."""
        self._write(run, result)

    @hookimpl
    def limpet_run_failed(self, run: RunInfo, result: RunResult) -> None:
        """Write the bad news."""
        self._write(run, result)

    def _write(self, run: RunInfo, result: RunResult) -> None:
        status = {
            "time": time.time(),
            "command": run.command,
            "repository": run.location,
            "exit_code": result.exit_code,
            "error": result.error,
            "figures": dict(result.figures),
        }
        path = str(self.settings["path"])
        # Whoever reads it sees the old file or the new one, never half of it.
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(status, file)
        os.replace(path + ".new", path)
