"""What a row of the tables says: a command line, the repository it runs on, and how much has to be the same.

A line may hold several commands, divided by ` ; `, that run one after another on the same repository. `{name}` stands
for an id or a path of the repository.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.parity.comparison import Match


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row."""

    line: str
    repository: str = "history"
    match: Match = Match.WORDS
    writes: bool = False
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    terminal: bool = False
    locks: bool = True

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command."""
        words = [shlex.split(part) for part in self.line.split(" ; ")]
        return words if self.locks else [["--no-lock", *command] for command in words]

    @property
    def name(self) -> str:
        """The test's name."""
        words = [self.line, *(f"{key}={value}" for key, value in self.env.items())]
        if self.repository != "history":
            words.append(f"on {self.repository}")
        if self.terminal:
            words.append("on a terminal")
        return " ".join(words)


def reading(
    *lines: str,
    match: Match = Match.WORDS,
    repository: str = "history",
    env: Mapping[str, str] | None = None,
    terminal: bool = False,
    locks: bool = False,
) -> Sequence[Scenario]:
    """Commands that change nothing. Without a lock, where nothing is written about it: restic's takes 0.2 s."""
    return [
        Scenario(line, repository, match, env=env or {}, terminal=terminal, locks=locks or line.startswith("check"))
        for line in lines
    ]


def writing(
    *lines: str,
    match: Match = Match.WORDS,
    repository: str = "history",
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    terminal: bool = False,
) -> Sequence[Scenario]:
    """Commands that change something: each program has a copy."""
    return [Scenario(line, repository, match, True, stdin, env or {}, terminal) for line in lines]
