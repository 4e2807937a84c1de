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
        """What is told, shown or not; results are no part of it: they may be secret."""

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
                _write(_output(), text, flush=flush)

    def error(self, text: str, *, logged: str | None = None) -> None:
        """One line, or several, on standard error; and in the log, in the words `logged` where it is a document."""
        self.log.add(text if logged is None else logged, is_warning=True)
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
            _output().buffer.write(data)

    def flush(self) -> None:
        """Everything written so far reaches the system; BrokenPipeError if nobody reads any more."""
        sys.stdout.flush()


def _output() -> TextIO:
    """Standard output itself: while plugins are at work another stands in its place, which tells of what they print."""
    genuine: TextIO = getattr(sys.stdout, "genuine", sys.stdout)
    return genuine


def _write(stream: TextIO, text: str, *, flush: bool) -> None:
    stream.buffer.write(text.encode("utf-8", "surrogateescape"))
    if not text.endswith("\n"):
        stream.buffer.write(b"\n")
    if flush:
        stream.buffer.flush()
