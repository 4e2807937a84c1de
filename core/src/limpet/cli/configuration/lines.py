"""The line of every key of a TOML file, which tomllib does not tell.

A statement of TOML ends with a line, so the shortest run of lines that is a document of its own is one statement.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KeyPath = tuple[str, ...]
_CLOSING = ("]", "}", '"""', "'''")
"""A statement over several lines ends with a line that holds one of these."""


@dataclass(frozen=True, slots=True)
class Statement:
    """The lines of one statement: its first, counted from 1, and their texts."""

    first: int
    texts: Sequence[str]

    def line_of_item(self, index: int) -> int:
        """The line of one item of the list that the statement gives; its first line where that cannot be told."""
        for count in range(1, len(self.texts)):
            shortened = _parsed("\n".join(self.texts[:count]) + "\n]")
            if shortened is not None and _list_length(shortened) > index:
                return self.first + count - 1
        return self.first + (len(self.texts) - 1 if len(self.texts) > 1 else 0)


def statements(text: str) -> dict[KeyPath, Statement]:
    """The statement that gives each key and table of a valid document, the first one of several."""
    found: dict[KeyPath, Statement] = {}
    header: KeyPath = ()
    lines = text.split("\n")
    start = 0
    while start < len(lines):
        end, parsed = _end_of_statement(lines, start)
        statement = Statement(start + 1, lines[start:end])
        if lines[start].lstrip().startswith("["):
            header = _only_path(parsed)
            for length in range(1, len(header) + 1):
                found.setdefault(header[:length], statement)
        else:
            for path in _paths(parsed):
                found.setdefault(header + path, statement)
        start = end
    return found


def _end_of_statement(lines: Sequence[str], start: int) -> tuple[int, Mapping[str, Any]]:
    for end in range(start + 1, len(lines) + 1):
        if end > start + 1 and not any(closing in lines[end - 1] for closing in _CLOSING):
            continue
        parsed = _parsed("\n".join(lines[start:end]))
        if parsed is not None:
            return end, parsed
    return len(lines), {}


def _parsed(text: str) -> Mapping[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _only_path(parsed: Mapping[str, Any]) -> KeyPath:
    """`{"a": {"b": {}}}` as `("a", "b")`: what a header names."""
    path: list[str] = []
    while parsed:
        name, inner = next(iter(parsed.items()))
        path.append(name)
        parsed = inner[0] if isinstance(inner, list) else inner
    return tuple(path)


def _paths(parsed: Mapping[str, Any]) -> list[KeyPath]:
    found: list[KeyPath] = []
    for name, value in parsed.items():
        found.append((name,))
        if isinstance(value, dict):
            found.extend((name, *inner) for inner in _paths(value))
    return found


def _list_length(parsed: Mapping[str, Any]) -> int:
    while True:
        value = next(iter(parsed.values()), None)
        if not isinstance(value, dict):
            return len(value) if isinstance(value, list) else 0
        parsed = value
