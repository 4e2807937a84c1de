"""One run of the library as a program, with retries that pause for milliseconds: `impatient.py SETTINGS` in JSON.

It prints what happened, in JSON too: the error of a run that failed clean, or None, and what was warned of.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import limpet
from limpet import registry
from limpet.contracts.transport import Transport
from limpet.errors import LimpetError
from limpet.progress import SilentReporter
from limpet.repository.repository import RepositorySettings
from limpet.storage.freeze import FreezeBackend
from limpet.storage.retry import RetryBackend

PACK_BYTES = 256 * 1024
"""Small, so that there are many requests."""


class Told(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, text: str) -> None:
        self.texts.append(text)


def run(settings: dict[str, Any], told: Told) -> int:
    """Back up or restore as the settings say; how many files or folders that could not be."""
    transport = Transport(stuck_request_timeout_s=settings["stuck_request_timeout_s"])
    opened = registry.open_backend(settings["location"], settings["options"], transport)
    backend = RetryBackend(
        FreezeBackend(opened), reporter=told, first_pause_s=0.02, max_elapsed_s=settings["max_elapsed_s"]
    )
    try:
        repository_settings = RepositorySettings(pack_size_bytes=PACK_BYTES, reporter=told)
        with limpet.open_repository(backend, settings["password"], settings=repository_settings) as repository:
            if settings["action"] == "backup":
                return limpet.backup(repository, [settings["path"]]).errors
            return limpet.restore(repository, settings["path"], settings["snapshot"]).errors
    finally:
        backend.close()


def main() -> None:
    """An error that is no LimpetError escapes with its traceback: that is no clean end."""
    settings = json.loads(sys.argv[1])
    told = Told()
    error: LimpetError | None = None
    errors = 0
    try:
        errors = run(settings, told)
    except LimpetError as caught:
        error = caught
    print(json.dumps({"error": error and str(error), "errors": errors, "warnings": told.texts}))


if __name__ == "__main__":
    main()
