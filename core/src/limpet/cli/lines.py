"""Many lines of output at little cost: written by the block into pipes and files, one by one to a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from limpet.cli.terminal import Terminal

BLOCK_LINES = 512


class LineWriter:
    """Takes lines as bytes; a context manager, at whose end all of them are written, whatever ends it.

    A call of `Terminal.print` for each of 100,000 lines costs a third of a listing's time.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._block_lines = 1 if terminal.output_is_terminal else BLOCK_LINES
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """One line without its line break."""
        self._lines.append(line)
        if len(self._lines) >= self._block_lines:
            self.flush()

    def flush(self) -> None:
        """Hand on what was kept back: before anything else is written, on either stream."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._block_lines == 1:
            for line in lines:
                self._terminal.print(line.decode("utf-8", "surrogateescape"))
        else:
            lines.append(b"")
            self._terminal.write_bytes(b"\n".join(lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
