"""A configuration file as tables and settings that know their place in it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limpet.cli.configuration.lines import KeyPath, Statement, statements
from limpet.errors import UsageError

Scalar = str | int | float | bool
_NAMED_BY_USER = ("profiles", "repositories")
"""Top-level tables whose keys are names."""
_FREE = frozenset({"options", "environment", "service"})
"""Tables whose keys belong to somebody else: plugins, programs, systemd."""


class ConfigurationError(UsageError):
    """A mistake in the configuration; the message names file, line and key, `reason` is what is wrong there."""

    def __init__(self, place: Place, reason: str) -> None:
        key = f"{place.key}: " if place.key else ""
        super().__init__(f"{place.file}, line {place.line}: {key}{reason}")
        self.place = place
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is said: the file, the line (from 1 on), the key with all tables around it."""

    file: Path
    line: int
    key: str

    def mistake(self, text: str) -> ConfigurationError:
        """The error that names this place."""
        return ConfigurationError(self, text)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value as it is written, a list as its items, and its place."""

    value: Scalar | Sequence[Any]
    place: Place
    item_lines: Statement | None = field(default=None, repr=False)
    joined: Sequence[Setting] = ()
    """The items of a list that several profiles make together."""

    @property
    def items(self) -> Sequence[Setting]:
        """The items of a list, each with its own line; a single value is a list of one."""
        if self.joined or not isinstance(self.value, list):
            return self.joined or (self,)
        return [Setting(item, self._place_of_item(index)) for index, item in enumerate(self.value)]

    def _place_of_item(self, index: int) -> Place:
        if self.item_lines is None or len(self.item_lines.texts) == 1:
            return self.place
        return Place(self.place.file, self.item_lines.line_of_item(index), self.place.key)


@dataclass(frozen=True, slots=True)
class Table:
    """Entries by their key; `-` and `_` are the same in the keys of Limpet's own."""

    entries: Mapping[str, Setting | Table]
    place: Place

    def settings(self) -> Iterator[tuple[str, Setting]]:
        """All settings in it and in its inner tables, by their dotted key."""
        for key, entry in self.entries.items():
            if isinstance(entry, Setting):
                yield key, entry
            else:
                yield from ((f"{key}.{inner}", setting) for inner, setting in entry.settings())


def read_document(file: Path) -> Table:
    """The file's content; ConfigurationError where it is no TOML, UsageError where it cannot be read."""
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise UsageError(f"cannot read the configuration {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the configuration {file} is not UTF-8 at byte {error.start}") from error
    return parse_document(text, file)


def parse_document(text: str, file: Path) -> Table:
    """The tables of a text; `file` is what messages name."""
    text = text.replace("\r\n", "\n")
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, file) from error
    return _Builder(file, statements(text)).table(parsed, ())


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, file: Path) -> ConfigurationError:
    """tomllib's own words, which end with `(at line 3, column 5)` or `(at end of document)`."""
    reason, _, where = str(error).rpartition(" (at ")
    number = where.removeprefix("line ").partition(",")[0]
    line = int(number) if number.isdigit() else max(1, len(text.splitlines()))
    return Place(file, line, "").mistake(f"this is no TOML: {reason or error}")


class _Builder:
    def __init__(self, file: Path, found: Mapping[KeyPath, Statement]) -> None:
        self._file = file
        self._statements = found

    def table(self, parsed: Mapping[str, Any], path: KeyPath) -> Table:
        entries: dict[str, Setting | Table] = {}
        for key, value in parsed.items():
            inner = (*path, key)
            name = key if _is_free(path) else key.replace("_", "-")
            entry = self._entry(value, inner)
            if name in entries:
                raise entry.place.mistake(f"given twice, as line {entries[name].place.line} says the same key")
            entries[name] = entry
        return Table(entries, self._place(path))

    def _entry(self, value: Any, path: KeyPath) -> Setting | Table:
        place = self._place(path)
        if isinstance(value, dict):
            return self.table(value, path)
        items = value if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, str | int | float | bool):
                raise place.mistake(f"a {_word(item)} makes no sense here; text goes in quotes")
        return Setting(value, place, self._statements.get(path))

    def _place(self, path: KeyPath) -> Place:
        statement = self._statements.get(path)
        return Place(self._file, statement.first if statement else 1, ".".join(path))


def _is_free(path: KeyPath) -> bool:
    return (len(path) == 1 and path[0] in _NAMED_BY_USER) or any(name in _FREE for name in path[2:])


def _word(value: object) -> str:
    return {"dict": "table", "list": "list"}.get(type(value).__name__, "date or time")
