"""The progress display of a terminal: bar, rate, time left, files in work. Imports rich, so only loaded for one."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from limpet.cli.formatting import format_bytes, neutralise
from limpet.cli.rate import RateEstimator
from limpet.cli.status import status_line
from limpet.cli.terminal import Terminal
from limpet.progress import Progress

MAX_FILES_SHOWN = 4
MIN_BAR_WIDTH = 10


class ProgressDisplay:
    """Draws a `Progress` at the bottom of the screen until `stop`, and makes room for lines printed meanwhile."""

    def __init__(self, terminal: Terminal, progress: Progress, updates_per_s: float) -> None:
        self._terminal = terminal
        self._progress = progress
        self._started = time.monotonic()
        self._rate = RateEstimator()
        self._live = Live(
            get_renderable=self._render,
            console=Console(highlight=False, markup=False, emoji=False),
            refresh_per_second=updates_per_s,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()
        terminal.print_above = self._print_above

    def stop(self) -> None:
        """Take the display off the screen."""
        self._terminal.print_above = None
        self._live.stop()

    def _print_above(self, text: str) -> None:
        self._live.console.print(Text(text.removesuffix("\n")), soft_wrap=True)

    def _render(self) -> RenderableType:
        progress = self._progress
        self._rate.record(progress.bytes_done)
        left = max(0, (progress.bytes_total or 0) - progress.bytes_done)
        line = status_line(progress, time.monotonic() - self._started, self._rate.remaining_s(left))
        rows: list[RenderableType] = [self._bar(), _one_line(line)]
        rows += [_one_line("  " + neutralise(name)) for name in list(progress.current.copy())[:MAX_FILES_SHOWN]]
        return Group(*rows)

    def _bar(self) -> RenderableType:
        progress = self._progress
        by_bytes = bool(progress.bytes_total)
        total = progress.bytes_total if by_bytes else progress.files_total
        done = progress.bytes_done if by_bytes else progress.files_done
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column(ratio=1, min_width=MIN_BAR_WIDTH)
        table.add_column(no_wrap=True)
        rate = f"{format_bytes(int(self._rate.bytes_per_s))}/s" if progress.bytes_done else ""
        table.add_row(ProgressBar(total=total, completed=done, pulse=not total), Text(rate))
        return table


def _one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
