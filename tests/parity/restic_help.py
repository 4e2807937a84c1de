"""What a real restic says about itself: its commands, and the flags of each, read from `--help`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60
_COMMAND = re.compile(r" {2}(\S+) {2,}\S.*")
_FLAG = re.compile(r" {2}(?:-(?P<short>\w), | {4})--(?P<name>[\w-]+)(?: (?P<value>\S+))? {2,}(?P<text>.*)")
_DEFAULT = re.compile(r" \(default ([^()]+)\)$")
_REPEATED = re.compile(r"can be (specified|given) multiple times")
COMMAND_SECTIONS = ("Available Commands:", "Advanced Options:", "Additional Commands:")


@dataclass(frozen=True, slots=True)
class Flag:
    """One line of a help: `-s, --name value   text`."""

    name: str
    """With its two hyphens."""
    short: str | None
    """With its hyphen."""
    value: str | None
    """What stands for its value; None for a switch."""
    text: str

    @property
    def spellings(self) -> Sequence[str]:
        """The flag as it may be typed."""
        return [self.name] if self.short is None else [self.short, self.name]

    @property
    def default(self) -> str | None:
        """The default where help tells one that is not empty."""
        match = _DEFAULT.search(self.text)
        return None if match is None or match[1] == "[]" else match[1].strip('"')

    @property
    def is_repeatable(self) -> bool:
        """Whether each further use adds a value."""
        return _REPEATED.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Command:
    """A command or subcommand and its own flags; `path` is empty for the program and its global flags."""

    path: Sequence[str]
    summary: str
    flags: Sequence[Flag]

    @property
    def name(self) -> str:
        """As it is typed, such as `key add`."""
        return " ".join(self.path)


def commands(binary: Path) -> list[Command]:
    """The program itself and every command and subcommand that its help shows, each after the one it belongs to."""
    return list(_commands(binary, (), ""))


def takes(binary: Path, path: Sequence[str], argument: str) -> bool:
    """Whether the command knows the flag; for those that help is silent about."""
    done = subprocess.run(
        [binary, *path, argument, "--help"], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )
    return done.returncode == 0 and "unknown" not in done.stderr


def _commands(binary: Path, path: Sequence[str], summary: str) -> Iterator[Command]:
    text = subprocess.run(
        [binary, *path, "--help"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    ).stdout
    yield Command(path, summary, list(_flags(text)))
    for section in COMMAND_SECTIONS:
        for line in _section(text, section):
            match = _COMMAND.fullmatch(line)
            if match is not None and match[1] != "help":
                yield from _commands(binary, (*path, match[1]), " ".join(line.split()[1:]))


def _flags(text: str) -> Iterator[Flag]:
    for line in _section(text, "Flags:"):
        match = _FLAG.fullmatch(line)
        assert match is not None, f"this line is no flag: {line}"
        yield Flag(f"--{match['name']}", match["short"] and f"-{match['short']}", match["value"], match["text"].strip())


def _section(text: str, title: str) -> Iterator[str]:
    """The lines below the title, up to the next empty one."""
    lines = iter(text.splitlines())
    for line in lines:
        if line == title:
            break
    for line in lines:
        if not line.strip():
            return
        yield line
