"""What the flags of `limpet backup` ask for: targets, selection, time; contradictions are refused."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limpet.cli.environment import environment, environment_value, parse_natural
from limpet.cli.options import GlobalOptions
from limpet.contracts.source import Selection
from limpet.errors import UsageError
from limpet.operations.files_from import collect_targets
from limpet.patterns import Patterns, pattern_lines

if TYPE_CHECKING:
    from limpet.operations.hooks import RunHooks

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
DEFAULT_READ_CONCURRENCY = 1
_SPECIAL = re.compile(r"([\\*?\[\]])")


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known, and known to be right, before the repository is opened."""

    started_ns: int
    time_ns: int
    """The snapshot's time: that of --time, or now."""
    targets: Sequence[str]
    """The arguments and what the --files-from files name."""
    read_concurrency: int
    """How many large files are read at once."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """The command's flags, as click parsed them."""

    flags: Mapping[str, Any]
    arguments: Sequence[str]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.flags[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def stream_scheme(self) -> str | None:
        """The scheme of the one source where a stream is asked for, not paths."""
        if self.stdin_from_command:
            return "command"
        return "stdin" if self.stdin else None

    @property
    def tag_list(self) -> list[str]:
        """All tags given."""
        return [tag for group in self.tags for tag in group if tag]

    def refuse_contradictions(self, options: GlobalOptions) -> None:
        """UsageError for flags that exclude each other."""
        lists = {
            "--files-from": self.files_from,
            "--files-from-verbatim": self.files_from_verbatim,
            "--files-from-raw": self.files_from_raw,
        }
        given = (
            options.password_file or options.password_command or options.insecure_no_password or environment("PASSWORD")
        )
        if not given and self.stdin:
            raise UsageError("cannot read both password and data from stdin")
        if not given and any("-" in files for files in lists.values()):
            raise UsageError(
                "unable to read password from stdin when data is to be read from stdin, use --password-file or "
                "$LIMPET_PASSWORD"
            )
        if self.stream_scheme is None:
            return
        for name, files in lists.items():
            if files:
                raise UsageError(f"--stdin and {name} cannot be used together")
        if self.arguments and not self.stdin_from_command:
            raise UsageError("--stdin was specified and files/dirs were listed as arguments")
        if not self.stdin_filename:
            raise UsageError("invalid filename specified: --stdin-filename is empty")

    def settle(self, warn: Callable[[str], None]) -> Settled:
        """Work out what needs no repository; UsageError for what makes no sense or names nothing."""
        return Settled(time.time_ns(), self._time_ns(), self._targets(warn), self._read_concurrency())

    def selection(self, hooks: RunHooks, cache_folder: Path | None) -> Selection:
        """What is left out; the folder of our own caches always is, as in restic."""
        Patterns(self.exclude, option="--exclude")  # a bad one is named with its option
        Patterns(self.iexclude, option="--iexclude")
        own = [] if cache_folder is None else [_SPECIAL.sub(r"\\\1", os.path.abspath(cache_folder))]
        return Selection(
            exclude=[*self.exclude, *_patterns_of(self.exclude_file, "--exclude-file"), *own],
            exclude_insensitive=[*self.iexclude, *_patterns_of(self.iexclude_file, "--iexclude-file")],
            exclude_caches=self.exclude_caches,
            exclude_if_present=self.exclude_if_present,
            exclude_larger_than_bytes=self.exclude_larger_than,
            one_file_system=self.one_file_system,
            rejected_by_hook=hooks.excludes,
        )

    def _targets(self, warn: Callable[[str], None]) -> list[str]:
        if self.stream_scheme is not None:
            return []
        targets = collect_targets(
            self.arguments,
            files_from=self.files_from,
            files_from_verbatim=self.files_from_verbatim,
            files_from_raw=self.files_from_raw,
            warn=warn,
        )
        if not targets:
            raise UsageError("nothing to backup, please specify source files/dirs")
        return targets

    def _time_ns(self) -> int:
        if self.time_text is None:
            return time.time_ns()
        try:
            return int(datetime.strptime(self.time_text, TIME_FORMAT).timestamp()) * 1_000_000_000
        except (ValueError, OverflowError, OSError) as error:
            raise UsageError(
                f"error in time option: {self.time_text!r} is not of the form '2012-11-01 22:08:41'"
            ) from error

    def _read_concurrency(self) -> int:
        wanted = self.read_concurrency
        if wanted is None:
            wanted = environment_value("READ_CONCURRENCY", parse_natural)
        return wanted or DEFAULT_READ_CONCURRENCY


def _patterns_of(files: Sequence[str], option: str) -> list[str]:
    patterns: list[str] = []
    for file in files:
        try:
            patterns.extend(pattern_lines(Path(file).read_bytes(), os.environ))
        except OSError as error:
            raise UsageError(f'failed to read patterns from file "{file}": {error.strerror}') from error
    Patterns(patterns, option=option)
    return patterns
