"""`limpet backup`: one snapshot of files, folders, commands and whatever a source plugin delivers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

from limpet import registry
from limpet.cli.backup_request import BackupRequest
from limpet.cli.exits import EXIT_INCOMPLETE, CommandExit
from limpet.cli.parameters import SIZE, SPAN, TAG_LIST
from limpet.cli.session import Session, pass_session
from limpet.registry.location import PATH

_Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _many(*names: str, metavar: str, text: str) -> _Decorator:
    return click.option(*names, multiple=True, metavar=metavar, help=text)


def _switch(*names: str, text: str) -> _Decorator:
    return click.option(*names, is_flag=True, help=text)


@click.command("backup", context_settings={"allow_interspersed_args": True})
@click.option("--parent", metavar="snapshot", help="use this parent snapshot (default: latest of the same group)")
@click.option(
    "-g", "--group-by", default="host,paths", metavar="group", help="group snapshots by host, paths and/or tags"
)
@_switch("-f", "--force", text='force re-reading the source files/directories (overrides the "parent" flag)')
@_many("-e", "--exclude", metavar="pattern", text="exclude a pattern")
@_many("--iexclude", metavar="pattern", text="same as --exclude but ignores the casing of filenames")
@_many("--exclude-file", metavar="file", text="read exclude patterns from a file")
@_many("--iexclude-file", metavar="file", text="same as --exclude-file but ignores casing")
@_many(
    "--exclude-if-present",
    metavar="filename[:header]",
    text="exclude contents of directories containing filename (except filename itself), if its header is as given",
)
@_switch("--exclude-caches", text="exclude cache directories that are marked with a CACHEDIR.TAG file")
@click.option("--exclude-larger-than", type=SIZE, metavar="size", help="max size of the files to be backed up")
@_switch("-x", "--one-file-system", text="exclude other file systems, don't cross filesystem boundaries")
@_switch("--stdin", text="read backup from stdin")
@click.option("--stdin-filename", default="stdin", metavar="filename", help="filename to use when reading from stdin")
@_switch("--stdin-from-command", text="interpret arguments as command to execute and store its stdout")
@click.option(
    "--tag", "tags", multiple=True, type=TAG_LIST, metavar="tag[,tag,...]", help="add tags for the new snapshot"
)
@click.option("--description", default="", metavar="text", help="say what the snapshot is, see `limpet describe`")
@_switch("--protect", text="never let `forget` remove the snapshot, see `limpet protect`")
@click.option("--protect-for", type=SPAN, metavar="duration", help="as --protect, but only for so long (ex. 1y6m)")
@click.option("--read-concurrency", type=click.IntRange(min=0), metavar="n", help="read n large files concurrently")
@click.option("-H", "--host", metavar="hostname", help="set the hostname for the snapshot (default: $LIMPET_HOST)")
@click.option("--hostname", hidden=True)
@_many("--files-from", metavar="file", text="read the files to backup from file, with wildcards and comments")
@_many("--files-from-verbatim", metavar="file", text="read the files to backup from file, one a line")
@_many("--files-from-raw", metavar="file", text="read the files to backup from file, a zero byte after each")
@click.option("--time", "time_text", metavar="time", help="time of the backup (ex. '2012-11-01 22:08:41')")
@_switch("--with-atime", text="store the atime for all files and directories")
@_switch("--ignore-inode", text="ignore inode number and ctime changes when checking for modified files")
@_switch("--ignore-ctime", text="ignore ctime changes when checking for modified files")
@_switch("-n", "--dry-run", text="do not upload or write any data, just show what would be done")
@_switch("--allow-partial", text="leave out a source that fails, and end with exit code 3 (default: no snapshot)")
@_switch("--no-scan", text="do not run scanner to estimate size of backup")
@_switch("--skip-if-unchanged", text="skip snapshot creation if identical to parent snapshot")
@click.argument("arguments", nargs=-1, metavar="[FILE/DIR]...")
@pass_session
def command(session: Session, /, *, arguments: Sequence[str], **flags: Any) -> None:
    """Create a new backup of files and/or directories."""
    request = BackupRequest(flags, arguments)
    request.refuse_contradictions(session.options)
    session.hooks()  # whatever fails from here on, they are told
    if request.hostname:
        session.reporter.warning("Flag --hostname has been deprecated, use --host")
    settled = request.settle(session.reporter.warning)
    session.reporter.note("open repository", verbosity=2)
    repository = session.repository(meanwhile=_import_the_rest)
    from limpet.cli.backup_run import BackupRun  # noqa: PLC0415  # imported by now, see `meanwhile`

    result = BackupRun(session, request, settled).backup(repository)
    if result.errors:
        raise CommandExit(EXIT_INCOMPLETE, "Warning: at least one source file could not be read")


def _import_the_rest() -> None:
    import_module("limpet.cli.backup_run")
    registry.source(PATH)
