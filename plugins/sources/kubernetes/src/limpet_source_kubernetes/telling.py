"""What goes wrong with single things: told to the reporter and counted, so that the backup says it is incomplete."""

from __future__ import annotations

import threading

from limpet.errors import SourceError
from limpet.progress import Reporter, SilentReporter


class Telling:
    """The reporter of one run, with the number of errors told to it. Thread-safe."""

    def __init__(self, reporter: Reporter | None) -> None:
        self._reporter: Reporter = reporter or SilentReporter()
        self._lock = threading.Lock()
        self.error_count = 0

    def warning(self, text: str) -> None:
        """Something that does not make the result wrong."""
        self._reporter.warning(text)

    def note(self, text: str) -> None:
        """Something that those want to know who ask for more with -v."""
        self._reporter.note(text, verbosity=2)

    def lost(self, text: str, item: str) -> None:
        """Something is not in the snapshot, or not as it should be."""
        with self._lock:
            self.error_count += 1
        self._reporter.error(SourceError(text), during="archival", item=item)

    def failed(self, error: OSError, item: str) -> None:
        """Something could not be read."""
        self.lost(f"{item}: {error.strerror or error}", item)
