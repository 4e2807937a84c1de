"""`DumpSource`: a source whose files are what commands write to their standard output.

A database's source only says which commands to run; that a dump which was cut is never taken for a whole one is seen
to here: a command that fails, is killed, or is not read to its end makes `finish` fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar

from limpet.contracts.made_file import stream_target
from limpet.contracts.process import OutputProcess, Tell
from limpet.contracts.source import Source, SourceRequest, Target
from limpet.errors import SourceError, UsageError


@dataclass(slots=True)
class Dump:
    """One command and the file that its output becomes, from before its start until after its end."""

    path: str
    """Of the file, from the snapshot's root: `/postgres/localhost/shop.sql`."""
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to ours: where a password belongs, never on the command line."""
    what: str = ""
    """What is dumped, for messages: `postgres://localhost/shop`; empty where the command says it all."""
    filtered: Callable[[BinaryIO], BinaryIO] | None = None
    """Wraps the output where not all that the command writes belongs to the file; reads it to its end."""
    tell: Tell | None = None
    child: OutputProcess | None = None
    failure: str | None = None

    def start(self) -> BinaryIO:
        """The content, once; SourceError if the command cannot be started."""
        if self.child is not None or self.failure is not None:
            raise SourceError(f"the command {self.argv[0]} can only be run once")
        try:
            self.child = OutputProcess(self.argv, self.tell, self.environment or None)
        except (OSError, ValueError) as error:
            self.failure = self._named(f"failed to start command {self.argv[0]}: {error}")
            raise SourceError(self.failure, targets=[self.path]) from error
        output = self.child.output.buffered()
        return output if self.filtered is None else self.filtered(output)

    def problem(self) -> str | None:
        """None if the command ended well and all that it wrote was read, or if it never was started; waits for it."""
        if self.child is not None and self.failure is None:
            if not self.child.output.at_end:
                self.failure = self._named(f"the output of the command {self.argv[0]} was not read to its end")
                self.child.end()
            elif ending := self.child.wait():
                said = f": {self.child.last_words}" if self.what and self.child.last_words else ""
                self.failure = self._named(f"command {self.argv[0]} failed: {ending}{said}")
        return self.failure

    def close(self) -> None:
        """End the command if it still runs."""
        if self.child is not None:
            self.child.end()

    def _named(self, text: str) -> str:
        return f"{self.what}: {text}" if self.what else text


class DumpSource(Source):
    """Files that commands write. A derived class gives `open`, which makes no dump but looks that it can be made."""

    has_parent: ClassVar[bool] = False

    def __init__(self, request: SourceRequest, dumps: Sequence[Dump] = ()) -> None:
        """UsageError where two dumps write one file. What the commands say is told to the request's reporter."""
        self._tell = None if request.reporter is None else request.reporter.warning
        self._time_ns = request.time_ns
        self._dumps: Sequence[Dump] = ()
        self.set_dumps(dumps)

    def set_dumps(self, dumps: Sequence[Dump]) -> None:
        """Make these the commands; UsageError as above.

        For a source that asks its server what there is to dump: in its `targets`, which may fail with the source alone.
        """
        paths = [dump.path for dump in dumps]
        if len(set(paths)) < len(paths):
            raise UsageError(f"two commands write the same file of the snapshot: {', '.join(paths)}")
        self._dumps = dumps
        for dump in dumps:
            dump.tell = dump.tell or self._tell

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return [dump.path for dump in self._dumps]

    def targets(self) -> Sequence[Target]:
        """One file for each command; a command is started when its file is read."""
        return [stream_target(dump.path, dump.start, self._time_ns) for dump in self._dumps]

    def scan(self) -> tuple[int, int]:
        """One file for each command, and nobody knows how many bytes."""
        return len(self._dumps), 0

    def finish(self) -> None:
        """Wait for every command that was started; SourceError for those that failed, or were not read out."""
        failures = {dump.path: problem for dump in self._dumps if (problem := dump.problem())}
        if failures:
            raise SourceError("; ".join(failures.values()), targets=list(failures))

    def close(self) -> None:
        """End whatever still runs, children of the commands too."""
        for dump in self._dumps:
            dump.close()


def require_program(name: str, package: str) -> str:
    """The path of a program; UsageError that names the package it comes with where it is not to be found."""
    path = shutil.which(name)
    if path is None:
        raise UsageError(f"the program {name} is not in $PATH: install it ({package})")
    return path
