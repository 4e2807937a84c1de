"""The process's standard streams: lines out, errors out, passwords in, and who is a terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from limpet.cli.formatting import neutralise_lines
from limpet.cli.run_log import RunLog


class Terminal:
    """Writes whole lines, thread-safe and in order over both streams. Bytes of names pass unchanged into pipes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.print_above: Callable[[str], None] | None = None
        """Set while a progress display is on the screen: prints lines above it."""
        self.log = RunLog()
        """What reporters tell, shown or not; results are no part of it: they may be secret."""

    @property
    def output_is_terminal(self) -> bool:
        return sys.stdout.isatty()

    @property
    def input_is_terminal(self) -> bool:
        return sys.stdin is not None and sys.stdin.isatty()

    @property
    def can_update(self) -> bool:
        """Whether lines on the screen can be drawn again: an interactive terminal that is not dumb."""
        return self.output_is_terminal and os.environ.get("TERM", "dumb") != "dumb"

    def print(self, text: str, *, flush: bool = False) -> None:
        """One line, or several, on standard output."""
        if self.output_is_terminal:
            text, flush = neutralise_lines(text), True
        with self._lock:
            if self.print_above:
                self.print_above(text)
            else:
                _write(sys.stdout, text, flush=flush)

    def error(self, text: str) -> None:
        """One line, or several, on standard error."""
        on_screen = sys.stderr.isatty()
        if on_screen:
            text = neutralise_lines(text)
        with self._lock:
            if on_screen and self.print_above:
                self.print_above(text)
            else:
                sys.stdout.flush()  # what was printed before comes before, where both end in one file
                _write(sys.stderr, text, flush=True)

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Raw bytes on standard output."""
        with self._lock:
            sys.stdout.buffer.write(data)

    def flush(self) -> None:
        """Everything written so far reaches the system; BrokenPipeError if nobody reads any more."""
        sys.stdout.flush()


def _write(stream: TextIO, text: str, *, flush: bool) -> None:
    stream.buffer.write(text.encode("utf-8", "surrogateescape"))
    if not text.endswith("\n"):
        stream.buffer.write(b"\n")
    if flush:
        stream.buffer.flush()
