"""`limpet backup`: one snapshot of files, folders, commands and whatever a source plugin delivers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

import limpet
from limpet import registry
from limpet.cli.backup_output import figures, print_result
from limpet.cli.environment import environment, is_true
from limpet.cli.exits import EXIT_INCOMPLETE, CommandExit
from limpet.cli.parameters import SIZE, TAG_LIST
from limpet.cli.session import Session, pass_session
from limpet.contracts.source import Selection, Source, SourceRequest
from limpet.errors import UsageError
from limpet.operations.backup import BackupOptions, BackupResult, backup
from limpet.operations.backup.files_from import collect_targets
from limpet.operations.hooks import RunHooks
from limpet.patterns import Patterns, pattern_lines
from limpet.registry.location import PATH
from limpet.repository.repository import Repository
from limpet.repository.snapshots import GroupBy, SnapshotFilter, StoredSnapshot, find_parent
from limpet.storage.dryrun import DryRunBackend

_Decorator = Callable[[Callable[..., None]], Callable[..., None]]
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class _Request:
    """The command's flags, as click parsed them."""

    flags: Mapping[str, Any]
    arguments: Sequence[str]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.flags[name]
        except KeyError:
            raise AttributeError(name) from None


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
@click.option("--read-concurrency", type=click.IntRange(min=1), metavar="n", help="read n large files concurrently")
@click.option("-H", "--host", "--hostname", "host", metavar="hostname", help="set the hostname for the snapshot")
@_many("--files-from", metavar="file", text="read the files to backup from file, with wildcards and comments")
@_many("--files-from-verbatim", metavar="file", text="read the files to backup from file, one a line")
@_many("--files-from-raw", metavar="file", text="read the files to backup from file, a zero byte after each")
@click.option("--time", "time_text", metavar="time", help="time of the backup (ex. '2012-11-01 22:08:41')")
@_switch("--with-atime", text="store the atime for all files and directories")
@_switch("--ignore-inode", text="ignore inode number and ctime changes when checking for modified files")
@_switch("--ignore-ctime", text="ignore ctime changes when checking for modified files")
@_switch("-n", "--dry-run", text="do not upload or write any data, just show what would be done")
@_switch("--no-scan", text="do not run scanner to estimate size of backup")
@_switch("--skip-if-unchanged", text="skip snapshot creation if identical to parent snapshot")
@_many("--hook", metavar="name", text="call the hook plugin of this name")
@click.argument("arguments", nargs=-1, metavar="[FILE/DIR]...")
@pass_session
def command(session: Session, /, *, arguments: Sequence[str], **flags: Any) -> None:
    """Create a new backup of files and/or directories."""
    request = _Request(flags, arguments)
    _refuse_contradictions(session, request)
    hooks = session.hooks(request.hook)  # whatever fails from here on, they are told
    targets = _targets(session, request)
    time_ns = _time_ns(request.time_text)
    host = request.host or environment("HOST") or socket.gethostname()
    result = _backup(session, request, hooks, targets, time_ns, host)
    session.figures = figures(result)
    if result.errors:
        raise CommandExit(EXIT_INCOMPLETE, "Warning: at least one source file could not be read")


def _backup(
    session: Session, request: _Request, hooks: RunHooks, targets: Sequence[str], time_ns: int, host: str
) -> BackupResult:
    with ExitStack() as stack:
        repository = session.repository()
        if request.dry_run:
            repository.backend = DryRunBackend(repository.backend)
        stack.enter_context(repository.lock(retry_lock_s=session.retry_lock_s, no_lock=request.dry_run))
        reporter = hooks.watching(session.reporter)
        sources = [
            stack.enter_context(_closing(source)) for source in _open_sources(session, request, hooks, targets, stack)
        ]
        parent = _parent(session, request, repository, sources, time_ns, host)
        options = BackupOptions(
            hostname=host,
            time_ns=time_ns,
            tags=[tag for group in request.tags for tag in group if tag],
            excludes=[*request.exclude, *request.iexclude],
            parent=parent,
            ignore_inode=request.ignore_inode or is_true(environment("IGNORE_INODE")),
            ignore_ctime=request.ignore_ctime or is_true(environment("IGNORE_CTIME")),
            with_atime=request.with_atime,
            skip_if_unchanged=request.skip_if_unchanged,
            dry_run=request.dry_run,
            scan=not request.no_scan,
            read_concurrency=request.read_concurrency or _read_concurrency(),
            program_version=f"limpet {limpet.__version__}",
            before_saving=hooks.snapshot_saving,
        )
        result = backup(repository, sources, options, reporter)
    print_result(session, result, options)
    return result


@contextmanager
def _closing(source: Source) -> Iterator[Source]:
    try:
        yield source
    finally:
        source.close()


def _open_sources(
    session: Session, request: _Request, hooks: RunHooks, targets: Sequence[str], stack: ExitStack
) -> list[Source]:
    """One source for each scheme among the targets; without a stream in question plain paths are the `path` scheme."""
    if request.stdin or request.stdin_from_command:
        scheme = "command" if request.stdin_from_command else "stdin"
        grouped = {scheme: list(request.arguments)}
    else:
        grouped = {}
        for target in targets:
            argument = registry.source_argument(target)
            grouped.setdefault(argument.scheme, []).append(argument.rest)
        if PATH in grouped:
            grouped[PATH] = list(stack.enter_context(hooks.prepared(grouped[PATH])))
    selection = _selection(request, hooks)
    sources = []
    for scheme, arguments in grouped.items():
        options = registry.source_options(scheme, session.options.extended())
        if "filename" in options and request.stdin_filename:
            options["filename"] = request.stdin_filename
        sources.append(
            registry.source(scheme).open(SourceRequest(tuple(arguments), options, selection, session.reporter))
        )
    return sources


def _selection(request: _Request, hooks: RunHooks) -> Selection:
    Patterns(request.exclude, option="--exclude")  # a bad one is named with its option
    Patterns(request.iexclude, option="--iexclude")
    return Selection(
        exclude=[*request.exclude, *_patterns_of(request.exclude_file, "--exclude-file")],
        exclude_insensitive=[*request.iexclude, *_patterns_of(request.iexclude_file, "--iexclude-file")],
        exclude_caches=request.exclude_caches,
        exclude_if_present=request.exclude_if_present,
        exclude_larger_than_bytes=request.exclude_larger_than,
        one_file_system=request.one_file_system,
        rejected_by_hook=hooks.excludes,
    )


def _patterns_of(files: Sequence[str], option: str) -> list[str]:
    patterns: list[str] = []
    for file in files:
        try:
            patterns.extend(pattern_lines(Path(file).read_bytes(), os.environ))
        except OSError as error:
            raise UsageError(f'failed to read patterns from file "{file}": {error.strerror}') from error
    Patterns(patterns, option=option)
    return patterns


def _targets(session: Session, request: _Request) -> list[str]:
    """The arguments and what the --files-from files name."""
    if request.stdin or request.stdin_from_command:
        return []
    targets = collect_targets(
        request.arguments,
        files_from=request.files_from,
        files_from_verbatim=request.files_from_verbatim,
        files_from_raw=request.files_from_raw,
        warn=session.reporter.warning,
    )
    if not targets:
        raise UsageError("nothing to backup, please specify source files/dirs")
    return targets


def _refuse_contradictions(session: Session, request: _Request) -> None:
    lists = {
        "--files-from": request.files_from,
        "--files-from-verbatim": request.files_from_verbatim,
        "--files-from-raw": request.files_from_raw,
    }
    options = session.options
    given = options.password_file or options.password_command or options.insecure_no_password or environment("PASSWORD")
    if not given and request.stdin:
        raise UsageError("cannot read both password and data from stdin")
    if not given and any("-" in files for files in lists.values()):
        raise UsageError(
            "unable to read password from stdin when data is to be read from stdin, use --password-file or "
            "$LIMPET_PASSWORD"
        )
    if not (request.stdin or request.stdin_from_command):
        return
    for name, files in lists.items():
        if files:
            raise UsageError(f"--stdin and {name} cannot be used together")
    if request.stdin and not request.stdin_from_command and request.arguments:
        raise UsageError("--stdin was specified and files/dirs were listed as arguments")


def _parent(
    session: Session,
    request: _Request,
    repository: Repository,
    sources: Sequence[Source],
    time_ns: int,
    host: str,
) -> StoredSnapshot | None:
    """The snapshot to compare with; streams have none."""
    if not any(source.has_parent for source in sources):
        return None
    parent = None
    if not request.force:
        by = GroupBy.parse(request.group_by)
        wanted = SnapshotFilter(
            hosts=[host] if by.host else (),
            tags=[[tag for group in request.tags for tag in group]] if by.tags else (),
            paths=[path for source in sources for path in source.snapshot_paths] if by.paths else (),
        )
        parent = find_parent(repository, request.parent, wanted, not_after_ns=time_ns)
    if parent is None:
        session.reporter.note("no parent snapshot found, will read all files")
    else:
        session.reporter.note(f"using parent snapshot {parent.id.hex()[:8]}")
    return parent


def _time_ns(text: str | None) -> int:
    if text is None:
        return time.time_ns()
    try:
        return int(datetime.strptime(text, TIME_FORMAT).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"error in time option: {text!r} is not of the form '2012-11-01 22:08:41'") from error


def _read_concurrency() -> int:
    text = environment("READ_CONCURRENCY")
    if not text:
        return 1
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"invalid value for READ_CONCURRENCY {text!r}: give a number from 1 on")
    return int(text)
