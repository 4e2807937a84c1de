"""A reporter that also tells the hooks how far an operation is, every few seconds, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from limpet.progress import ItemEvent, Progress, Reporter

INTERVAL_S = 5.0


class WatchedReporter:
    """Passes everything on to `inner`; while an operation runs, `tell` gets its progress at intervals."""

    def __init__(self, inner: Reporter, tell: Callable[[Progress], None], *, interval_s: float = INTERVAL_S) -> None:
        self._inner = inner
        self._tell = tell
        self._interval_s = interval_s
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def wants_items(self) -> bool:
        """As the reporter inside."""
        return self._inner.wants_items

    @property
    def wants_totals(self) -> bool:
        """As the reporter inside."""
        return self._inner.wants_totals

    def begin(self, progress: Progress) -> None:
        """Pass on, and start to watch."""
        self._inner.begin(progress)
        self._stop()
        self._over.clear()
        self._watcher = threading.Thread(target=self._watch, args=(progress,), name="hook progress", daemon=True)
        self._watcher.start()

    def end(self) -> None:
        """Stop watching, and pass on."""
        self._stop()
        self._inner.end()

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """Pass on."""
        self._inner.note(text, verbosity=verbosity)

    def warning(self, text: str) -> None:
        """Pass on."""
        self._inner.warning(text)

    def error(self, error: Exception, *, during: str, item: str) -> None:
        """Pass on."""
        self._inner.error(error, during=during, item=item)

    def item(self, event: ItemEvent) -> None:
        """Pass on."""
        self._inner.item(event)

    def _watch(self, progress: Progress) -> None:
        while not self._over.wait(self._interval_s):
            self._tell(progress)

    def _stop(self) -> None:
        self._over.set()
        if self._watcher is not None:
            self._watcher.join()
            self._watcher = None
