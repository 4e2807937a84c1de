"""The flags that choose paths by patterns: --exclude, --include and their kin, as restic has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from limpet.errors import UsageError
from limpet.patterns import Patterns, pattern_lines

Command = TypeVar("Command", bound=Callable[..., object])

_DECLARATIONS = (
    (("-e", "--exclude"), "pattern", "exclude a pattern"),
    (("--iexclude",), "pattern", "same as --exclude but ignores the casing of filenames"),
    (("--exclude-file",), "file", "read exclude patterns from a file"),
    (("--iexclude-file",), "file", "same as --exclude-file but ignores casing of filenames in patterns"),
    (("-i", "--include"), "pattern", "include a pattern"),
    (("--iinclude",), "pattern", "same as --include but ignores the casing of filenames"),
    (("--include-file",), "file", "read include patterns from a file"),
    (("--iinclude-file",), "file", "same as --include-file but ignores casing of filenames in patterns"),
)


def pattern_options(command: Command) -> Command:
    """A decorator that adds the flags; `PatternFlags.taken_from` collects them from the command's arguments."""
    for flags, metavar, text in reversed(_DECLARATIONS):
        click.option(*flags, multiple=True, metavar=metavar, help=f"{text} (can be specified multiple times)")(command)
    return command


@dataclass(frozen=True, slots=True)
class PatternFlags:
    """One set of flags, say those that start with --include: `word` is `include` or `exclude`."""

    word: str
    patterns: Sequence[str]
    insensitive: Sequence[str]
    files: Sequence[str]
    insensitive_files: Sequence[str]

    @classmethod
    def taken_from(cls, flags: Mapping[str, Any], word: str) -> PatternFlags:
        """Those of the word out of a command's arguments."""
        return cls(word, flags[word], flags[f"i{word}"], flags[f"{word}_file"], flags[f"i{word}_file"])

    @property
    def are_given(self) -> bool:
        """Whether any is, if only an empty file."""
        return bool(self.patterns or self.insensitive or self.files or self.insensitive_files)

    def compile(self) -> list[Patterns]:
        """The lists of patterns that have any; UsageError naming the flag of an invalid one, or an unreadable file."""
        word = self.word
        # restic checks what comes from files first, under the name of that flag.
        from_files = _read(self.files, f"--{word}-file")
        insensitive_from_files = _read(self.insensitive_files, f"--i{word}-file")
        compiled = [
            Patterns([*self.insensitive, *insensitive_from_files], ignore_case=True, option=f"--i{word}"),
            Patterns([*self.patterns, *from_files], option=f"--{word}"),
        ]
        return [patterns for patterns in compiled if patterns]


def _read(files: Sequence[str], option: str) -> list[str]:
    patterns: list[str] = []
    for name in files:
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise UsageError(f"failed to read patterns from file {name!r}: {error.strerror}") from error
        patterns += pattern_lines(data, os.environ)
    Patterns(patterns, option=option)
    return patterns
