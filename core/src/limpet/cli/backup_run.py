"""One run of `limpet backup`: its sources opened, its parent found, its snapshot made.

Apart from the command itself so that it is imported while the password is turned into the key.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import limpet
from limpet import registry
from limpet.cli.backup_output import figures, print_result
from limpet.cli.backup_request import BackupRequest, Settled
from limpet.cli.environment import environment, environment_value, parse_switch
from limpet.cli.places import own_places
from limpet.cli.protection import protection_from
from limpet.cli.session import Session
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import HookError
from limpet.ids import short
from limpet.operations.backup import BackupOptions, BackupResult, backup
from limpet.operations.frozen import warn_of_mounts_inside
from limpet.operations.hooks import ReadFrom
from limpet.registry.location import PATH
from limpet.repository.repository import Repository
from limpet.repository.snapshots import GroupBy, SnapshotFilter, StoredSnapshot, find_parent
from limpet.storage.dryrun import DryRunBackend


class BackupRun:
    """One run of the command."""

    def __init__(self, session: Session, request: BackupRequest, settled: Settled) -> None:
        self._session = session
        self._request = request
        self._settled = settled
        self._hooks = session.hooks()
        self._reporter = self._hooks.watching(session.reporter)
        self._host = request.host or request.hostname or environment("HOST") or socket.gethostname()

    def backup(self, repository: Repository) -> BackupResult:
        """Make the snapshot and print what became of it."""
        session, request = self._session, self._request
        with ExitStack() as stack:
            if request.dry_run:
                repository.backend = DryRunBackend(repository.backend)
            stack.enter_context(repository.lock(retry_lock_s=session.retry_lock_s, no_lock=request.dry_run))
            grouped = self._grouped()
            read_from = self._prepared(grouped, stack)
            sources = self._open_sources(grouped, read_from, repository, stack)
            parent = self._parent(repository, sources)
            self._tell_start(grouped, sources)
            options = self._options(parent)
            result = backup(repository, sources, options, self._reporter)
        session.figures = figures(result)
        print_result(session, result, options)
        return result

    def _grouped(self) -> dict[str, list[str]]:
        """The arguments of each source, by scheme."""
        if self._request.stream_scheme is not None:
            return {self._request.stream_scheme: list(self._request.arguments)}
        grouped: dict[str, list[str]] = {}
        for target in self._settled.targets:
            argument = registry.source_argument(target)
            grouped.setdefault(argument.scheme, []).append(argument.rest)
        return grouped

    def _prepared(self, grouped: Mapping[str, Sequence[str]], stack: ExitStack) -> ReadFrom:
        """Where the hooks want arguments to be read instead, until the stack is closed; a stream is told by its name.

        HookError where a source cannot do so: what it read would not be what the hook made for it.
        """
        scheme = self._request.stream_scheme
        told = grouped if scheme is None else {scheme: [self._request.stdin_filename]}
        read_from = stack.enter_context(self._hooks.prepared(told))
        for scheme, places in read_from.items():
            if not registry.source(scheme).reads_frozen:
                argument, place = next(iter(places.items()))
                shown = registry.redact(f"{scheme}:{argument}")
                raise HookError(f"a hook wants {place} to be read instead of {shown}, but such a source cannot do that")
        if not self._request.one_file_system:
            warn_of_mounts_inside(read_from.get(PATH, {}), grouped.get(PATH, ()), self._reporter)
        return read_from

    def _open_sources(
        self,
        grouped: Mapping[str, Sequence[str]],
        read_from: ReadFrom,
        repository: Repository,
        stack: ExitStack,
    ) -> list[Source]:
        session = self._session
        selection = self._request.selection(self._hooks, repository.settings.cache_folder)
        sources = []
        for scheme, arguments in grouped.items():
            options = registry.source_options(scheme, session.options.extended())
            if "filename" in options:
                options["filename"] = self._request.stdin_filename
            request = SourceRequest(
                tuple(arguments),
                options,
                selection,
                session.reporter,
                self._settled.time_ns,
                read_from.get(scheme, {}),
                own_places(session.options),
            )
            source = registry.open_source(scheme, request)
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
            parent = find_parent(repository, self._request.parent, wanted, not_after_ns=self._settled.time_ns)
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
            time_ns=self._settled.time_ns,
            tags=request.tag_list,
            description=request.description,
            protection=protection_from(self._settled.time_ns, always=request.protect, span=request.protect_for),
            excludes=request.exclude,  # restic records these alone
            parent=parent,
            ignore_inode=request.ignore_inode or bool(environment_value("IGNORE_INODE", parse_switch)),
            ignore_ctime=request.ignore_ctime or bool(environment_value("IGNORE_CTIME", parse_switch)),
            with_atime=request.with_atime,
            skip_if_unchanged=request.skip_if_unchanged,
            allow_partial=request.allow_partial,
            dry_run=request.dry_run,
            scan=not request.no_scan,
            read_concurrency=self._settled.read_concurrency,
            program_version=f"limpet {limpet.__version__}",
            started_ns=self._settled.started_ns,
            before_saving=self._hooks.snapshot_saving,
        )
