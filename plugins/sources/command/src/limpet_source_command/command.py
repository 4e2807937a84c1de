"""`CommandSource`: what commands write to their standard output becomes files of the snapshot."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Self

from limpet.contracts.options import Option
from limpet.contracts.source import Source, SourceRequest, Target
from limpet.errors import SourceError, UsageError

from limpet_source_command.made_file import DEFAULT_FILENAME, absolute_path, stream_target
from limpet_source_command.process import ChildProcess


class CommandSource(Source):
    """The output of one command, or of several, each a file. One that fails takes the snapshot with it.

    Targets are either the words of one command (`--stdin-from-command`), or each a file's name and its command
    line: `command:shop.sql=pg_dump shop`. No program's name holds a `=`, so the first target tells which.
    """

    contract_version: ClassVar[int] = 1
    has_parent: ClassVar[bool] = False
    options: ClassVar[Sequence[Option]] = (
        Option("filename", "name of the file in the snapshot, may hold folders", default=DEFAULT_FILENAME),
    )

    def __init__(self, runs: Sequence[CommandRun], time_ns: int | None = None) -> None:
        self._runs = runs
        self._time_ns = time_ns

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for no command, one that is not to be found, or a bad file name. Nothing is run."""
        if not request.targets or not request.targets[0]:
            raise UsageError("no command was specified as argument")
        tell = request.reporter.warning if request.reporter is not None else None
        if "=" in request.targets[0]:
            runs = [_named_run(target, tell) for target in request.targets]
        else:
            filename = str(request.options.get("filename") or DEFAULT_FILENAME)
            runs = [_run(filename, request.targets, tell)]
        paths = [run.path for run in runs]
        if len(set(paths)) < len(paths):
            raise UsageError(f"two commands write the same file of the snapshot: {', '.join(paths)}")
        return cls(runs, request.time_ns)

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return [run.path for run in self._runs]

    def targets(self) -> Sequence[Target]:
        """One file for each command; a command is started when its file is read."""
        return [stream_target(run.path, run.start, self._time_ns) for run in self._runs]

    def scan(self) -> tuple[int, int]:
        """One file for each command, and nobody knows how many bytes."""
        return len(self._runs), 0

    def finish(self) -> None:
        """Wait for every command that was started; SourceError for the first that failed, or was not read out."""
        for run in self._runs:
            run.finish()

    def close(self) -> None:
        """End whatever still runs, children of the commands too."""
        for run in self._runs:
            run.close()


@dataclass(slots=True)
class CommandRun:
    """One command, from before its start until after its end."""

    path: str
    argv: Sequence[str]
    tell: Callable[[str], None] | None
    child: ChildProcess | None = None
    failure: str | None = None

    def start(self) -> BinaryIO:
        """Its output, once; SourceError if it cannot be started."""
        if self.child is not None or self.failure is not None:
            raise SourceError(f"the command {self.argv[0]} can only be run once")
        try:
            self.child = ChildProcess(self.argv, self.tell)
        except (OSError, ValueError) as error:
            self.failure = f"failed to start command {self.argv[0]}: {error}"
            raise SourceError(self.failure) from error
        return self.child.output.buffered()

    def finish(self) -> None:
        """SourceError unless the command ended well and all that it wrote was read; nothing if it never started."""
        if self.child is not None and self.failure is None:
            if not self.child.output.at_end:
                self.failure = f"the output of the command {self.argv[0]} was not read to its end"
                self.child.end()
            elif ending := self.child.wait():
                self.failure = f"command {self.argv[0]} failed: {ending}"
        if self.failure is not None:
            raise SourceError(self.failure)

    def close(self) -> None:
        """End it if it still runs."""
        if self.child is not None:
            self.child.end()


def _named_run(target: str, tell: Callable[[str], None] | None) -> CommandRun:
    filename, equals, line = target.partition("=")
    try:
        argv = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"not a command line: {line!r}: {error}") from error
    if not equals or not argv:
        raise UsageError(f"command {target!r} is not of the form command:FILENAME=COMMAND LINE")
    return _run(filename, argv, tell)


def _run(filename: str, argv: Sequence[str], tell: Callable[[str], None] | None) -> CommandRun:
    if shutil.which(argv[0]) is None:
        hint = "; for a command line write command:FILENAME=COMMAND LINE" if " " in argv[0] else ""
        raise UsageError(f"failed to start command: {argv[0]!r} is not an executable file in $PATH{hint}")
    return CommandRun(absolute_path(filename), list(argv), tell)
