"""Targets of a backup from lists in files: `--files-from`, `--files-from-verbatim` and `--files-from-raw`.

Names are text as in `os.fsdecode`: bytes that are no UTF-8 are surrogates.
"""

from __future__ import annotations

import os
import posixpath
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from limpet.errors import UsageError
from limpet.patterns import compile_name
from limpet.textfile import SPACE, text_lines

STDIN = "-"
_META = frozenset(b"*?[\\")


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read()


def collect_targets(
    arguments: Sequence[str],
    *,
    files_from: Sequence[str] = (),
    files_from_verbatim: Sequence[str] = (),
    files_from_raw: Sequence[str] = (),
    warn: Callable[[str], None],
    stdin: Callable[[], bytes] = _read_stdin,
) -> list[str]:
    """All targets: those of the lists first, then the arguments. `warn` is told of patterns that match nothing.

    A list named `-` is read from `stdin`. UsageError for a list that cannot be read or a pattern that is none.
    """

    def content(name: str, option: str) -> bytes:
        return stdin() if name == STDIN else _read(name, option)

    targets: list[str] = []
    for name in files_from:
        for pattern in parse_patterns(content(name, "--files-from")):
            found = expand(pattern)
            if not found:
                warn(f'pattern "{pattern}" does not match any files, skipping')
            targets.extend(found)
    for name in files_from_verbatim:
        targets.extend(parse_verbatim(content(name, "--files-from-verbatim")))
    for name in files_from_raw:
        targets.extend(parse_raw(content(name, "--files-from-raw")))
    return [*targets, *arguments]


def parse_patterns(data: bytes) -> list[str]:
    """The patterns of a `--files-from` list: stripped lines without empty ones and comments."""
    lines = (line.strip(SPACE) for line in text_lines(data))
    return [line for line in lines if line and not line.startswith("#")]


def parse_verbatim(data: bytes) -> list[str]:
    """The names of a `--files-from-verbatim` list: each line as it is, without the empty ones."""
    return [line for line in text_lines(data) if line]


def parse_raw(data: bytes) -> list[str]:
    """The names of a `--files-from-raw` list, each ended by a zero byte. UsageError if one is empty or has no end."""
    *names, rest = data.split(b"\0")
    if b"" in names:
        raise UsageError("--files-from-raw: empty filename in listing")
    if rest:
        raise UsageError("--files-from-raw: trailing zero byte missing")
    return [os.fsdecode(name) for name in names]


def expand(pattern: str) -> list[str]:
    """The paths that exist and match, each folder's in the order of their names, as Go's `filepath.Glob`.

    A star stays inside a component and takes names that start with a dot too. Folders that cannot be read have no
    names. UsageError for a pattern that is none.
    """
    return [os.fsdecode(path) for path in _expand(os.fsencode(pattern))]


def _expand(pattern: bytes) -> list[bytes]:
    if _META.isdisjoint(pattern):
        return [pattern] if os.path.lexists(pattern) else []
    folder, slash, name = pattern.rpartition(b"/")
    matches = compile_name(name)
    folder = folder or (slash or b".")
    folders = [folder] if _META.isdisjoint(folder) else _expand(folder)
    return [
        posixpath.normpath(posixpath.join(parent, found))
        for parent in folders
        for found in _names(parent)
        if matches(found)
    ]


def _names(folder: bytes) -> list[bytes]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(name: str, option: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{option}: cannot read {name}: {error.strerror}") from error
