"""What is to be run at its time: the profile, its configuration, the command line, and where such jobs are kept."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from limpet.cli.configuration.profiles import Schedule
from limpet.cli.scheduling.times import When
from limpet.errors import UsageError

_KEPT = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "LIMPET_CACHE_DIR")
"""Variables that move Limpet's own folders: a job without them would not see the lock of a run by hand."""


class Scope(Enum):
    """Whose the jobs are; the value is the flag without dashes."""

    USER = "user"
    SYSTEM = "system"

    @classmethod
    def of_process(cls) -> Scope:
        """That of whoever runs us."""
        return cls.SYSTEM if os.getuid() == 0 else cls.USER


@dataclass(frozen=True, slots=True)
class Job:
    """A profile and when it runs."""

    profile: str
    configuration: Path
    whens: Sequence[When]
    schedule: Schedule

    @property
    def words(self) -> Sequence[str]:
        """The command line."""
        return [*_program(), "run", "--config", str(self.configuration), "--", self.profile]

    @property
    def environment(self) -> Mapping[str, str]:
        """What of our own environment the job needs, too."""
        return {name: os.environ[name] for name in _KEPT if os.environ.get(name)}

    @property
    def environment_file(self) -> Path | None:
        """The file with the job's variables, with its whole path."""
        given = self.schedule.environment_file
        return None if given is None else self.configuration.parent / given.value


@dataclass(frozen=True, slots=True)
class Installed:
    """A job that is installed somewhere."""

    profile: str
    configuration: str
    by: str
    """`systemd (user)`, `cron (system)`, ..."""
    at: Sequence[str]
    next_runs: Sequence[str]


class JobKeeper(ABC):
    """A place where jobs are kept. Only what carries our mark is listed and taken away."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @abstractmethod
    def install(self, job: Job, *, start: bool) -> Sequence[str]:
        """Put the job there, or renew it; what was written, a line each. UsageError where that cannot be."""

    @abstractmethod
    def installed(self) -> Sequence[Installed]:
        """The jobs that are there."""

    @abstractmethod
    def remove(self, profile: str) -> Sequence[str]:
        """Take away exactly what `install` wrote; what that was, a line each, none where nothing was there."""


def mark(profile: str, configuration: Path) -> str:
    """The line by which a job is known again."""
    return f"# limpet schedule: profile {profile} of {configuration}"


def read_mark(text: str) -> tuple[str, str] | None:
    """Profile and configuration of the first line that is a mark."""
    for line in text.splitlines():
        if line.startswith("# limpet schedule: profile "):
            profile, _, configuration = line.removeprefix("# limpet schedule: profile ").partition(" of ")
            return profile, configuration
    return None


def require_ours(text: str, job: Job, place: object) -> None:
    """UsageError where somebody else wrote what stands there, or another configuration has a profile of this name."""
    found = read_mark(text)
    if found is None:
        raise UsageError(f"{place} was not written by `limpet schedule install`, and is left alone")
    if found != (job.profile, str(job.configuration)):
        raise UsageError(
            f"{place} runs the profile {found[0]!r} of {found[1]}; remove it first, or name this profile otherwise"
        )


def _program() -> Sequence[str]:
    """What starts this Limpet: its script, or else its module."""
    script = Path(sys.executable).with_name("limpet")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-P", "-m", "limpet.cli.main"]
