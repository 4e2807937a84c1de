"""`limpet dump`: a file of a snapshot, or a folder as an archive, on standard output."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.terminal import Terminal
from limpet.errors import LimpetError, RepositoryError, UsageError
from limpet.operations.dump import Archive, Writable, dump
from limpet.repository.snapshots import find_snapshot, tree_of

ARGUMENTS = 2


@click.command("dump")
@snapshot_filter_options(single=True)
@click.option(
    "-a", "--archive", "archive_word", default="tar", metavar="format", help='set archive format as "tar" or "zip"'
)
@click.option("-t", "--target", default="", metavar="path", help="write the output to target path")
@click.argument("arguments", nargs=-1, metavar="SNAPSHOTID FILE")
@pass_session
def command(
    session: Session,
    *,
    arguments: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    archive_word: str,
    target: str,
) -> None:
    """Print backed-up files or folders to stdout.

    A file is printed as it is, a folder as a tar (or zip) archive; "/" stands for the whole snapshot. With
    SNAPSHOTID:FOLDER the paths in the archive begin below that folder. SNAPSHOTID may be `latest`.
    """
    if len(arguments) != ARGUMENTS:
        raise UsageError("no file and no snapshot ID specified")
    if archive_word not in {archive.value for archive in Archive}:
        raise CommandExit(EXIT_FAILED, f'unknown archive format "{archive_word}"')
    archive, (name, file) = Archive(archive_word), arguments
    with session.locked_repository() as repository:
        try:
            stored, subfolder = find_snapshot(repository, name, snapshot_filter(host, tag, path))
        except LimpetError as error:
            raise RepositoryError(f"failed to find snapshot: {error}") from error
        repository.load_index(session.reporter)
        tree_id = tree_of(repository, stored, subfolder)

        def write(out: Writable, before_archive: Callable[[], None] | None) -> None:
            try:
                dump(repository, tree_id, os.fsencode(file), out, archive=archive, before_archive=before_archive)
            except LimpetError as error:
                raise RepositoryError(f"cannot dump file: {error}") from error

        if target:
            try:
                with open(target, "wb") as out:
                    write(out, None)
            except OSError as error:
                raise UsageError(f"cannot dump to file {target}: {error.strerror}") from error
        else:
            write(_Output(session.terminal), lambda: _refuse_terminal(session.terminal))


class _Output:
    """Standard output, for dumps."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, data: bytes | memoryview) -> None:
        """Raw bytes; BrokenPipeError if nobody reads."""
        self._terminal.write_bytes(data)


def _refuse_terminal(terminal: Terminal) -> None:
    if terminal.output_is_terminal:
        raise UsageError("stdout is the terminal, please redirect output")
