"""The hooks of a run, in the order in which they are called. Read it like a manual.

A hook plugin is a class derived from `Hook`, registered in the entry-point group `limpet.hooks`. It is built
once a run with its options, and implements any of these with `@hookimpl`. A hook that raises fails the run, or
only warns where its option `on_error` says `warn`; it is never silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pluggy

from limpet.contracts.options import Option, Options
from limpet.contracts.source import StatLike
from limpet.progress import Progress, Reporter, SilentReporter

HOOK_CONTRACT = 1
PROJECT = "limpet"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

ON_ERROR = Option(
    "on_error",
    "what happens when the hook fails: `fail` ends the run with its error, `warn` only tells",
    default="fail",
)
"""Every hook has this option; one that declares it itself may choose another default."""

COMMANDS = Option("commands", "only for these commands, commas between: `backup,forget`; otherwise for all", default="")
"""For hooks that many commands would call: declare it, and ask `concerns`."""


class Hook:
    """Base of a hook plugin. It implements any method of `HookSpecs`, marked with `@hookimpl`."""

    contract_version: ClassVar[int] = HOOK_CONTRACT
    options: ClassVar[Sequence[Option]] = ()
    reporter: Reporter = SilentReporter()
    """What the user is told through; the run puts its own here before the first call."""
    limits_its_time: ClassVar[bool] = False
    """Whether it ends what it starts after a time that its options say: nobody is warned then that a call is long."""

    def __init__(self, options: Options) -> None:
        self.settings = options


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run a hook is told about. `location` holds no secrets."""

    command: str
    location: str
    arguments: Sequence[str] = ()
    hostname: str = ""
    run_id: str = ""
    """A UUID of this run's own, the same at all its moments."""
    started_ns: int = 0
    """When it began, in nanoseconds since 1970."""
    profile: str = ""
    """The profile of the configuration that it runs, if one."""


def concerns(options: Options, run: RunInfo) -> bool:
    """Whether the hook's option `commands` names the run's command, or none at all."""
    wanted = {word.strip() for word in str(options.get(COMMANDS.name) or "").split(",")} - {""}
    return not wanted or run.command in wanted


@dataclass(slots=True)
class SnapshotDraft:
    """A snapshot about to be saved; a hook may change the tags and the description."""

    hostname: str
    paths: Sequence[str]
    tags: list[str] = field(default_factory=list)
    description: str = ""


GOOD_EXIT_CODES = (0, 3)
"""All is well, or all but single files that could not be read."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: `exit_code`, the error's one line if any, and its figures by name. It holds no secrets."""

    exit_code: int
    error: str | None = None
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    warnings: int = 0
    """How many warnings and errors of single items were told."""
    log: Sequence[str] = ()
    """The last lines that were told (results that a command prints are not among them), oldest first."""
    repository_id: str = ""
    """In hex; empty where the repository was not opened."""
    ended_ns: int = 0
    """When it ended, in nanoseconds since 1970."""

    @property
    def is_good(self) -> bool:
        """Whether the run did its work: exit code 0, or 3 for single files that could not be read."""
        return self.exit_code in GOOD_EXIT_CODES


class HookSpecs:
    """Every hook there is. Arguments may be left out by an implementation."""

    @hookspec(firstresult=True)
    def limpet_password(self, location: str) -> str | None:
        """A password is wanted and none was given otherwise. The first result that is not None wins."""

    @hookspec
    def limpet_run_started(self, run: RunInfo) -> None:
        """A command is about to do its work. Raising here stops it before anything was done."""

    @hookspec
    def limpet_source_prepare(self, run: RunInfo, path: str, scheme: str) -> str | None:
        """Something is about to be read: told for each argument of a backup, all of them before the first is read.

        A file or folder has the scheme `path`, and its path as it was given; anything else has its source's scheme,
        and what followed it, without secrets (`device`, `///dev/vg0/home`). A stream has its name in the snapshot.

        Return where to read it instead, an absolute path: a folder in a snapshot of its file system, the device of
        a snapshot. The backup still shows it where it was asked for. None leaves it as it is.
        """

    @hookspec
    def limpet_path_excluded(self, path: bytes, stat: StatLike) -> bool | None:
        """Whether this path stays out of the snapshot. Any True leaves it out. Called for every path: be quick."""

    @hookspec
    def limpet_snapshot_saving(self, run: RunInfo, draft: SnapshotDraft) -> None:
        """All data is stored and the snapshot is about to be. Tags and description may be changed."""

    @hookspec
    def limpet_progress(self, run: RunInfo, progress: Progress) -> None:
        """Every few seconds while an operation runs."""

    @hookspec
    def limpet_source_release(self, run: RunInfo, path: str, scheme: str, error: str | None) -> None:
        """It was read, or will not be. Called for every `limpet_source_prepare`, the last one first, whatever happened.

        `error` is what went wrong in the run so far, in one line; None if the snapshot was saved.
        """

    @hookspec
    def limpet_run_finished(self, run: RunInfo, result: RunResult) -> None:
        """The run ended with exit code 0 or 3."""

    @hookspec
    def limpet_run_failed(self, run: RunInfo, result: RunResult) -> None:
        """The run ended with any other exit code."""

    @hookspec
    def limpet_run_ended(self, run: RunInfo, result: RunResult) -> None:
        """Every hook was told by one of the two above; called once, last of all, whatever happened.

        For what has to know the exit code that the process really ends with: where a hook failed at a moment before,
        even at this one, `result` says so. Monitors implement it with `@hookimpl(trylast=True)`.
        """
