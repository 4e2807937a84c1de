"""The reporters of the command line: text for a person, JSON lines for a program, little with --quiet."""

from __future__ import annotations

import time
from typing import Protocol

from limpet.cli.items import SCAN_FINISHED, item_document, item_line
from limpet.cli.json_output import encode_json
from limpet.cli.options import GlobalOptions
from limpet.cli.rate import RateEstimator
from limpet.cli.status import counter_line, status_document, status_text
from limpet.cli.terminal import Terminal
from limpet.cli.ticker import Ticker, update_interval_s
from limpet.progress import ItemEvent, Progress, Reporter

VERBOSE = 2
VERY_VERBOSE = 3
MAIN_OPERATIONS = {"backup", "restore"}
"""Those that tell how far they are at SIGUSR1 and with LIMPET_PROGRESS_FPS even with --quiet; others only count."""


class CommandReporter(Reporter, Protocol):
    """A reporter that also tells how long the operation has been running."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the last `begin`."""


class _Stoppable(Protocol):
    def stop(self) -> None: ...


def make_reporter(terminal: Terminal, options: GlobalOptions) -> CommandReporter:
    """The reporter that the options ask for; UsageError for --quiet with --verbose."""
    if options.json:
        return JsonReporter(terminal, options.verbosity)
    return TextReporter(terminal, options.verbosity)


class _Running:
    """What both reporters keep of the operation that runs."""

    def __init__(self, terminal: Terminal, verbosity: int) -> None:
        self.terminal = terminal
        self.verbosity = verbosity
        self.progress = Progress("")
        self.started = time.monotonic()
        self.rate = RateEstimator()
        self._display: _Stoppable | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the last `begin`."""
        return time.monotonic() - self.started

    def begin(self, progress: Progress) -> None:
        """Show the progress until `end`. One operation at a time: an earlier one is ended."""
        self.end()
        self.progress, self.started, self.rate = progress, time.monotonic(), RateEstimator()
        self._display = self._show(progress)

    def end(self) -> None:
        """Stop showing progress. Idempotent."""
        display, self._display = self._display, None
        if display is not None:
            display.stop()

    def remaining_s(self) -> int:
        """Seconds until all bytes are done; 0 where that is not known."""
        self.rate.record(self.progress.bytes_done)
        if self.progress.bytes_total is None:
            return 0
        return self.rate.remaining_s(max(0, self.progress.bytes_total - self.progress.bytes_done))

    def _log_note(self, text: str, verbosity: int) -> None:
        if verbosity <= max(1, self.verbosity):
            self.terminal.log.add(text)

    def _show(self, progress: Progress) -> _Stoppable | None:
        raise NotImplementedError


class TextReporter(_Running):
    """Lines as restic writes them, and a progress display on a terminal."""

    def end(self) -> None:
        """Stop showing progress; the last state of a counter is printed. Idempotent."""
        is_counted = self._display is not None and self.progress.is_counter
        super().end()
        if is_counted:
            self.terminal.print(counter_line(self.progress, self.elapsed_s))

    @property
    def wants_items(self) -> bool:
        """Only -vv shows single items."""
        return self.verbosity >= VERY_VERBOSE

    @property
    def wants_totals(self) -> bool:
        """Where progress is shown, and with -v, which tells of the scan."""
        return self.verbosity >= VERBOSE or self._interval_s() is not None

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """One line on standard output, unless --quiet or not verbose enough."""
        self._log_note(text, verbosity)
        if self.verbosity >= max(1, verbosity):
            self.terminal.print(text)

    def warning(self, text: str) -> None:
        """One line on standard error."""
        self.terminal.error(text)

    def error(self, error: Exception, *, during: str, item: str) -> None:
        """One line on standard error, in the words restic has for the operation."""
        if self.progress.operation == "restore":
            self.terminal.error(f"ignoring error for {item}: {error}")
        elif during != "scan" or self.verbosity >= VERBOSE:
            self.terminal.error(f"{'scan' if during == 'scan' else 'error'}: {error}")

    def item(self, event: ItemEvent) -> None:
        """One line on standard output; how much there is to do is told with -v already."""
        if self.wants_items or (event.action == SCAN_FINISHED and self.verbosity >= VERBOSE):
            self.terminal.print(item_line(self.progress.operation, event))

    def _show(self, progress: Progress) -> _Stoppable | None:
        interval_s = self._interval_s()
        if interval_s is not None and self.terminal.can_update:
            from limpet.cli.progress_bar import ProgressDisplay  # noqa: PLC0415  # rich takes 50 ms to import

            return ProgressDisplay(self.terminal, progress, 1.0 / interval_s)
        if self.verbosity == 0 and progress.operation not in MAIN_OPERATIONS:
            return None
        self._printed = ""
        return Ticker(interval_s, self._print_status)

    def _interval_s(self) -> float | None:
        return update_interval_s(visible=self.verbosity > 0, by_default=self.terminal.can_update)

    def _print_status(self) -> None:
        text = status_text(self.progress, self.elapsed_s, self.remaining_s())
        if text != self._printed:
            self._printed = text
            self.terminal.print(text, flush=True)


class JsonReporter(_Running):
    """One JSON document a line: status and items on standard output, errors on standard error."""

    @property
    def wants_items(self) -> bool:
        """-v in a backup, -vv in a restore: restic's own levels."""
        return self.verbosity >= (VERY_VERBOSE if self.progress.operation == "restore" else VERBOSE)

    @property
    def wants_totals(self) -> bool:
        """Wherever status documents are written."""
        return self._interval_s() is not None

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """Nothing: notes are for people."""
        self._log_note(text, verbosity)

    def warning(self, text: str) -> None:
        """The line as it is, on standard error: restic has no document for it."""
        self.terminal.error(text)

    def error(self, error: Exception, *, during: str, item: str) -> None:
        """An `error` document on standard error."""
        document = {"message_type": "error", "error": {"message": str(error)}, "during": during, "item": item}
        self.terminal.error(encode_json(document), logged=f"error: {error}")

    def item(self, event: ItemEvent) -> None:
        """A `verbose_status` document."""
        if self.wants_items:
            self.terminal.print(encode_json(item_document(self.progress.operation, event)), flush=True)

    def _show(self, progress: Progress) -> _Stoppable | None:
        if progress.operation not in MAIN_OPERATIONS:
            return None
        return Ticker(self._interval_s(), self._print_status)

    def _interval_s(self) -> float | None:
        return update_interval_s(visible=self.verbosity > 0, by_default=True)

    def _print_status(self) -> None:
        document = status_document(self.progress, self.elapsed_s, self.remaining_s())
        self.terminal.print(encode_json(document), flush=True)
