"""Tables as restic prints them: columns as wide as they must be, cells of several lines, a footer."""

from __future__ import annotations

from collections.abc import Sequence

from limpet.cli.formatting import display_width

SEPARATOR = "  "


def format_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], footer: Sequence[str] = (), *, spaced: bool = False
) -> str:
    """The lines of the table; with `spaced` an empty line between the rows."""
    widths = [
        max(display_width(line) for cell in column for line in cell.split("\n"))
        for column in zip(headers, *rows, strict=True)
    ]
    rule = "-" * (sum(widths) + len(SEPARATOR) * (len(widths) - 1))
    body = [_row_lines(row, widths) for row in rows]
    if spaced:
        body = [[*([""] if number else []), *lines] for number, lines in enumerate(body)]
    return "\n".join([*_row_lines(headers, widths), rule, *(line for lines in body for line in lines), rule, *footer])


def _row_lines(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    split = [cell.split("\n") for cell in cells]
    lines = []
    for number in range(max(len(cell) for cell in split)):
        parts = [cell[number] if number < len(cell) else "" for cell in split]
        padded = [part + " " * (width - display_width(part)) for part, width in zip(parts, widths, strict=True)]
        lines.append(SEPARATOR.join(padded).rstrip(" "))
    return lines
