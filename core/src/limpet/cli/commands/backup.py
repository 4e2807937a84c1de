"""`limpet backup`: one snapshot of files, folders, commands and whatever a source plugin delivers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import click

import limpet
from limpet import registry
from limpet.cli.backup_output import figures, print_result
from limpet.cli.backup_request import BackupRequest
from limpet.cli.environment import environment, environment_value, parse_switch
from limpet.cli.exits import EXIT_INCOMPLETE, CommandExit
from limpet.cli.parameters import SIZE, TAG_LIST
from limpet.cli.protection import protection_from
from limpet.cli.retention_flags import SPAN
from limpet.cli.session import Session, pass_session
from limpet.contracts.source import Source, SourceRequest
from limpet.ids import short
from limpet.operations.backup import BackupOptions, BackupResult, backup
from limpet.operations.hooks import RunHooks
from limpet.registry.location import PATH
from limpet.repository.repository import Repository
from limpet.repository.snapshots import GroupBy, SnapshotFilter, StoredSnapshot, find_parent
from limpet.storage.dryrun import DryRunBackend

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
@_switch("--no-scan", text="do not run scanner to estimate size of backup")
@_switch("--skip-if-unchanged", text="skip snapshot creation if identical to parent snapshot")
@click.argument("arguments", nargs=-1, metavar="[FILE/DIR]...")
@pass_session
def command(session: Session, /, *, arguments: Sequence[str], **flags: Any) -> None:
    """Create a new backup of files and/or directories."""
    request = BackupRequest(flags, arguments)
    request.refuse_contradictions(session.options)
    hooks = session.hooks()  # whatever fails from here on, they are told
    if request.hostname:
        session.reporter.warning("Flag --hostname has been deprecated, use --host")
    run = _Run(session, request, hooks)
    result = run.backup()
    session.figures = figures(result)
    if result.errors:
        raise CommandExit(EXIT_INCOMPLETE, "Warning: at least one source file could not be read")


class _Run:
    """One run of the command."""

    def __init__(self, session: Session, request: BackupRequest, hooks: RunHooks) -> None:
        self._session = session
        self._request = request
        self._hooks = hooks
        self._reporter = hooks.watching(session.reporter)
        self._host = request.host or request.hostname or environment("HOST") or socket.gethostname()
        self._started_ns = time.time_ns()
        self._targets = request.targets(session.reporter.warning)
        self._time_ns = request.time_ns()
        self._read_concurrency = request.read_concurrency_or_default()

    def backup(self) -> BackupResult:
        """Open the repository, make the snapshot and print what became of it."""
        session, request = self._session, self._request
        with ExitStack() as stack:
            session.reporter.note("open repository", verbosity=2)
            repository = session.repository()
            if request.dry_run:
                repository.backend = DryRunBackend(repository.backend)
            stack.enter_context(repository.lock(retry_lock_s=session.retry_lock_s, no_lock=request.dry_run))
            grouped = self._grouped(stack)
            sources = self._open_sources(grouped, repository, stack)
            parent = self._parent(repository, sources)
            self._tell_start(grouped, sources)
            options = self._options(parent)
            result = backup(repository, sources, options, self._reporter)
        print_result(session, result, options)
        return result

    def _grouped(self, stack: ExitStack) -> dict[str, list[str]]:
        """The arguments of each source, by scheme; paths as the hooks want them to be read."""
        if self._request.stream_scheme is not None:
            return {self._request.stream_scheme: list(self._request.arguments)}
        grouped: dict[str, list[str]] = {}
        for target in self._targets:
            argument = registry.source_argument(target)
            grouped.setdefault(argument.scheme, []).append(argument.rest)
        if PATH in grouped:
            grouped[PATH] = list(stack.enter_context(self._hooks.prepared(grouped[PATH])))
        return grouped

    def _open_sources(
        self, grouped: Mapping[str, Sequence[str]], repository: Repository, stack: ExitStack
    ) -> list[Source]:
        session = self._session
        selection = self._request.selection(self._hooks, repository.settings.cache_folder)
        sources = []
        for scheme, arguments in grouped.items():
            options = registry.source_options(scheme, session.options.extended())
            if "filename" in options:
                options["filename"] = self._request.stdin_filename
            request = SourceRequest(tuple(arguments), options, selection, session.reporter, self._time_ns)
            source = registry.source(scheme).open(request)
            stack.callback(source.close)
            sources.append(source)
        return sources

    def _parent(self, repository: Repository, sources: Sequence[Source]) -> StoredSnapshot | None:
        """The snapshot to compare with; streams have none."""
        if not any(source.has_parent for source in sources):
            return None
        parent = None
        if not self._request.force:
            by = GroupBy.parse(self._request.group_by)
            wanted = SnapshotFilter(
                hosts=[self._host] if by.host else (),
                tags=[self._request.tag_list] if by.tags else (),
                paths=[path for source in sources for path in source.snapshot_paths] if by.paths else (),
            )
            parent = find_parent(repository, self._request.parent, wanted, not_after_ns=self._time_ns)
        if parent is None:
            self._reporter.note("no parent snapshot found, will read all files")
        else:
            self._reporter.note(f"using parent snapshot {short(parent.id)}")
        return parent

    def _tell_start(self, grouped: Mapping[str, Sequence[str]], sources: Sequence[Source]) -> None:
        """With -v: what is about to happen."""
        names: list[str] = []
        for (scheme, arguments), source in zip(grouped.items(), sources, strict=True):
            names += [path for path in arguments if os.path.lexists(path)] if scheme == PATH else source.snapshot_paths
        shown = f"[{' '.join(names)}]"
        self._reporter.note("load index files", verbosity=2)
        if self._request.stream_scheme is not None:
            self._reporter.note("read data from stdin", verbosity=2)
        if not self._request.no_scan:
            self._reporter.note(f"start scan on {shown}", verbosity=2)
        self._reporter.note(f"start backup on {shown}", verbosity=2)

    def _options(self, parent: StoredSnapshot | None) -> BackupOptions:
        request = self._request
        return BackupOptions(
            hostname=self._host,
            time_ns=self._time_ns,
            tags=request.tag_list,
            description=request.description,
            protection=protection_from(self._time_ns, always=request.protect, span=request.protect_for),
            excludes=request.exclude,  # restic records these alone
            parent=parent,
            ignore_inode=request.ignore_inode or bool(environment_value("IGNORE_INODE", parse_switch)),
            ignore_ctime=request.ignore_ctime or bool(environment_value("IGNORE_CTIME", parse_switch)),
            with_atime=request.with_atime,
            skip_if_unchanged=request.skip_if_unchanged,
            dry_run=request.dry_run,
            scan=not request.no_scan,
            read_concurrency=self._read_concurrency,
            program_version=f"limpet {limpet.__version__}",
            started_ns=self._started_ns,
            before_saving=self._hooks.snapshot_saving,
        )
