"""What a person sees on a terminal in the end: a small one that knows the few controls that progress displays use."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\x1b[78=>]|[\r\n\b]|[^\x1b\r\n\b]+|\x1b")


class Screen:
    """Lines that have been written, the cursor among them. Nothing scrolls away."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines = [""]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Write as a program does."""
        for match in _TOKEN.finditer(text):
            token = match[0]
            if match[3]:
                self._control(match[1], match[2], match[3])
            elif token == "\n":
                self._next_line()
            elif token == "\r":
                self._column = 0
            elif token == "\b":
                self._column = max(0, self._column - 1)
            elif not token.startswith("\x1b"):
                self._write(token)

    @property
    def lines(self) -> list[str]:
        """The lines as they stand, without white space at their ends."""
        return [line.rstrip() for line in self._lines]

    def _write(self, text: str) -> None:
        while text:
            if self._column >= self._columns:
                self._next_line()
            piece, text = text[: self._columns - self._column], text[self._columns - self._column :]
            line = self._lines[self._row].ljust(self._column)
            self._lines[self._row] = line[: self._column] + piece + line[self._column + len(piece) :]
            self._column += len(piece)

    def _next_line(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._lines):
            self._lines.append("")

    def _control(self, private: str, numbers: str, letter: str) -> None:
        first = int(numbers.split(";", maxsplit=1)[0] or (0 if letter in "JKm" else 1))
        line = self._lines[self._row]
        match private + letter:
            case "A":
                self._row = max(0, self._row - first)
            case "B":
                self._row = min(len(self._lines) - 1, self._row + first)
            case "G":
                self._column = first - 1
            case "K":
                self._lines[self._row] = "" if first else line[: self._column]
            case "J":
                self._lines[self._row] = line[: self._column]
                del self._lines[self._row + 1 :]
            case "m" | "?h" | "?l":
                return
            case other:
                raise AssertionError(f"a control that this screen does not know: {other!r}")
