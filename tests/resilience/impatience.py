"""Runs `impatient.py` as a process of its own: the library with retries that pause for milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.resilience.stores import Store
from tests.safety.program import PASSWORD, TIMEOUT_S

PROGRAM = Path(__file__).with_name("impatient.py")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: complete without an `error`; `errors` counts files that could not be saved or restored."""

    error: str | None
    errors: int
    warnings: Sequence[str]

    @property
    def is_complete(self) -> bool:
        """Whether all was done."""
        return self.error is None and not self.errors


def backup(store: Store, port: int, source: Path, **settings: object) -> Outcome:
    """Back up over the port; AssertionError if it ended neither complete nor with an error of ours."""
    return _run(store, port, {"action": "backup", "path": str(source), **settings})


def restore(store: Store, port: int, source: Path, target: Path, **settings: object) -> Outcome:
    """Restore the latest snapshot of the source into the target over the port; else as `backup`."""
    snapshot = f"latest:{source}"
    return _run(store, port, {"action": "restore", "path": str(target), "snapshot": snapshot, **settings})


def _run(store: Store, port: int, settings: Mapping[str, object]) -> Outcome:
    defaults = {"stuck_request_timeout_s": 30.0, "max_elapsed_s": 60.0, "options": dict(store.options)}
    every = {**defaults, "location": store.location(port), "password": PASSWORD, **settings}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(every)],
        env={**os.environ, **store.environment, "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"neither complete nor clean:\n{done.stderr}"
    said = json.loads(done.stdout)
    return Outcome(said["error"], said["errors"], said["warnings"])
