"""`CommandSource`: what commands write to their standard output becomes files of the snapshot."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from typing import ClassVar, Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile, feed
from limpet.contracts.dump import Dump, DumpSource
from limpet.contracts.made_file import DEFAULT_FILENAME, absolute_path
from limpet.contracts.options import Option
from limpet.contracts.source import SourceRequest
from limpet.errors import UsageError


class CommandDestination(Destination):
    """A file of the snapshot as the standard input of a command: `--into 'command:psql shop'`. No shell is asked."""

    def __init__(self, request: DestinationRequest, argv: Sequence[str]) -> None:
        self._request = request
        self._argv = argv

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """UsageError for no command, or one that is not to be found. Nothing is run yet."""
        return cls(request, _words(request.place, "command:COMMAND LINE"))

    def receive(self, file: StoredFile) -> None:
        feed(file, self._argv, self._request)

    def close(self) -> None:
        """The command has ended with the file."""


class CommandSource(DumpSource):
    """The output of one command, or of several, each a file. One that fails takes the snapshot with it.

    Targets are either the words of one command (`--stdin-from-command`), or each a file's name and its command
    line: `command:shop.sql=pg_dump shop`. No program's name holds a `=`, so the first target tells which.
    """

    contract_version: ClassVar[int] = 1
    destination: ClassVar[type[Destination] | None] = CommandDestination
    options: ClassVar[Sequence[Option]] = (
        Option("filename", "name of the file in the snapshot, may hold folders", default=DEFAULT_FILENAME),
    )

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for no command, one that is not to be found, or a bad file name. Nothing is run."""
        if not request.targets or not request.targets[0]:
            raise UsageError("no command was specified as argument")
        if "=" in request.targets[0]:
            return cls(request, [_named_dump(target) for target in request.targets])
        filename = str(request.options.get("filename") or DEFAULT_FILENAME)
        return cls(request, [Dump(absolute_path(filename), _found(request.targets))])


def _named_dump(target: str) -> Dump:
    filename, equals, line = target.partition("=")
    if not equals:
        raise UsageError(f"command {target!r} is not of the form command:FILENAME=COMMAND LINE")
    return Dump(absolute_path(filename), _words(line, "command:FILENAME=COMMAND LINE"))


def _words(line: str, form: str) -> Sequence[str]:
    try:
        argv = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"not a command line: {line!r}: {error}") from error
    if not argv:
        raise UsageError(f"no command is named; the form is {form}")
    return _found(argv)


def _found(argv: Sequence[str]) -> Sequence[str]:
    if shutil.which(argv[0]) is None:
        hint = "; for a command line write command:FILENAME=COMMAND LINE" if " " in argv[0] else ""
        raise UsageError(f"failed to start command: {argv[0]!r} is not an executable file in $PATH{hint}")
    return list(argv)
