"""Secrets by reference: where a password or a key comes from, never what it is."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from limpet.cli.configuration.document import Place, Setting, Table
from limpet.cli.configuration.expansion import Text, only_variable
from limpet.cli.configuration.reading import TableReader, Tell


class ReferenceKind(Enum):
    """Where a secret is; the value is the key that says so."""

    VARIABLE = "env"
    FILE = "file"
    COMMAND = "command"
    HOOK = "hook"


WAYS = '"${NAME}" for a variable of the environment, { file = "..." } or { command = "..." }'


@dataclass(frozen=True, slots=True)
class Reference:
    """Where one secret is. It is not read before it is needed."""

    kind: ReferenceKind
    target: Text
    place: Place

    @property
    def shown(self) -> str:
        """As it may be shown."""
        if self.kind is ReferenceKind.VARIABLE:
            return f"${{{self.target.shown}}}"
        return f"{self.kind.value} {self.target.shown}"

    def read(self, folder: Path) -> str:
        """The secret; ConfigurationError naming the place. Relative paths are taken from `folder`."""
        match self.kind:
            case ReferenceKind.VARIABLE:
                secret = os.environ.get(self.target.value)
                if not secret:
                    raise self.place.mistake(f"the environment has no variable {self.target.value}")
            case ReferenceKind.FILE:
                secret = self._read_file(folder)
            case ReferenceKind.COMMAND:
                secret = self._read_command(folder)
            case ReferenceKind.HOOK:
                raise AssertionError("a hook gives the password to the command itself")
        if not secret:
            raise self.place.mistake(f"{self.shown} gives nothing")
        return secret

    def _read_file(self, folder: Path) -> str:
        try:
            return (folder / self.target.value).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise self.place.mistake(f"cannot read {self.target.shown}: {reason}") from error

    def _read_command(self, folder: Path) -> str:
        words = command_words(self.target, self.place)
        try:
            done = subprocess.run(words, stdout=subprocess.PIPE, check=False, cwd=folder)
        except OSError as error:
            raise self.place.mistake(f"cannot run {words[0]}: {error.strerror}") from error
        if done.returncode:
            raise self.place.mistake(f"{words[0]} ended with exit status {done.returncode}")
        return done.stdout.decode("utf-8", "surrogateescape").strip()


def command_words(line: Text, place: Place) -> list[str]:
    """The words of a command line; ConfigurationError where its quotes do not match or it is empty."""
    try:
        words = shlex.split(line.value)
    except ValueError as error:
        raise place.mistake(f"{line.shown!r} is no command line: {error}") from error
    if not words:
        raise place.mistake("the command line is empty")
    return words


def read_reference(
    entry: Setting | Table, tell: Tell, *, kinds: Collection[ReferenceKind], refusal: str
) -> Reference | None:
    """The reference that a value is. A literal is told with `refusal`, which says the way out, never the value."""
    if isinstance(entry, Setting):
        variable = only_variable(entry.value) if isinstance(entry.value, str) else None
        if variable is None:
            tell(entry.place.mistake(refusal))
            return None
        return Reference(ReferenceKind.VARIABLE, Text.plain(variable), entry.place)
    reader = TableReader(entry, [kind.value for kind in kinds], tell)
    given = [kind for kind in kinds if reader.entry(kind.value) is not None]
    if len(given) != 1:
        tell(entry.place.mistake(f"should have one key, of: {', '.join(kind.value for kind in kinds)}"))
        return None
    target = reader.text(given[0].value)
    return None if target is None else Reference(given[0], target, reader.where(given[0].value))


def require_variable(reference: Reference) -> None:
    """ConfigurationError where the variable that a secret is in is not set: found before a run, not in the night."""
    if reference.kind is ReferenceKind.VARIABLE and not os.environ.get(reference.target.value):
        raise reference.place.mistake(f"the environment has no variable {reference.target.value}")


def require_file(path: str, folder: Path, place: Place) -> None:
    """ConfigurationError where the file cannot be read."""
    try:
        with (folder / path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise place.mistake(f"cannot read {path}: {error.strerror}") from error
