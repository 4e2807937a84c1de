"""`PostgresSource`: databases of PostgreSQL servers, each a file of the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource, require_program
from limpet.contracts.options import Option
from limpet.contracts.source import SourceRequest, Target
from limpet.errors import SourceError

from limpet_source_postgres.address import OPTIONS, Wanted, wanted
from limpet_source_postgres.archive import with_fixed_time
from limpet_source_postgres.creation import CLOSED_DATABASES, DATABASES
from limpet_source_postgres.destination import PostgresDestination
from limpet_source_postgres.formats import Format, Method
from limpet_source_postgres.names import BASE_BACKUP, CREATION, GLOBALS, file_name
from limpet_source_postgres.tools import (
    PACKAGE,
    PG_BASEBACKUP,
    PG_DUMP,
    PG_DUMPALL,
    PSQL,
    DumpCommands,
    restrict_key,
)


class PostgresSource(DumpSource):
    """One database, all of a server's, or its files. The server is asked for them when the targets are."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = OPTIONS
    destination: ClassVar[type[Destination] | None] = PostgresDestination

    def __init__(self, request: SourceRequest, asked: Sequence[Wanted]) -> None:
        super().__init__(request)
        self._asked = asked
        self._request = request
        self._is_listed = False

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for a bad address or option, or where a program is missing. No server is asked."""
        asked = [wanted(rest, request.options) for rest in request.targets]
        restrict_key(request.options.get("restrict_key"), "")
        methods = {one.method for one in asked}
        programs = [PSQL, *([PG_DUMP, PG_DUMPALL] if Method.DUMP in methods else [])]
        for program in [*programs, *([PG_BASEBACKUP] if Method.BASE_BACKUP in methods else [])]:
            require_program(program, PACKAGE)
        return cls(request, asked)

    @property
    def snapshot_paths(self) -> Sequence[str]:
        """A server's folder where all its databases are wanted: another database does not make another backup."""
        return list(dict.fromkeys(_snapshot_path(one) for one in self._asked))

    def targets(self) -> Sequence[Target]:
        """One file for each database, and for what belongs to none. SourceError if no server gives anything.

        A server that fails beside others that do not is a target that cannot be read, and so is lost alone.
        """
        if not self._is_listed:
            self.set_dumps([dump for one in self._asked for dump in self._dumps_of(one)])
            self._is_listed = True
        return super().targets()

    def _dumps_of(self, one: Wanted) -> Sequence[Dump]:
        try:
            return self._asked_dumps(one)
        except SourceError as error:
            if len(self._asked) == 1:
                raise
            return [_LostDump(_snapshot_path(one), [], what=str(one), failure=str(error))]

    def _asked_dumps(self, one: Wanted) -> Sequence[Dump]:
        """The commands for one argument; SourceError if its server cannot be asked, or has no such database."""
        server, commands = one.server, DumpCommands(one.server, self._request.options)
        if one.method is Method.BASE_BACKUP:
            server.ask(PSQL, None, "IDENTIFY_SYSTEM", replication="true")
            return [self._dump(one, f"{server.folder}/{BASE_BACKUP}", commands.base_backup())]
        if one.database is not None:
            server.ask(PSQL, one.database, "SELECT 1")
            return [self._database(one, one.database)]
        entry = server.maintenance_database(PSQL)
        self._warn_of_closed(one, entry)
        return [
            self._dump(one, f"{server.folder}/{GLOBALS}", commands.globals(entry)),
            self._dump(one, f"{server.folder}/{CREATION}", commands.creation(entry)),
            *(self._database(one, name) for name in server.ask(PSQL, entry, DATABASES)),
        ]

    def _warn_of_closed(self, one: Wanted, entry: str) -> None:
        closed = one.server.ask(PSQL, entry, CLOSED_DATABASES)
        if closed and self._tell is not None:
            self._tell(f"{one}: nobody can connect to these databases, so they are left out: {', '.join(closed)}")

    def _database(self, one: Wanted, name: str) -> Dump:
        argv = DumpCommands(one.server, self._request.options).database(name, one.format)
        dump = self._dump(one, f"{one.server.folder}/{file_name(name, one.format)}", argv)
        if one.format is Format.CUSTOM:
            dump.filtered = with_fixed_time
        return dump

    @staticmethod
    def _dump(one: Wanted, path: str, argv: Sequence[str]) -> Dump:
        return Dump(path, argv, one.server.environment(), what=str(one))


@dataclass(slots=True)
class _LostDump(Dump):
    """Stands for a server that failed before it could be said what there is to dump."""

    def start(self) -> BinaryIO:
        raise SourceError(self.failure or "", targets=[self.path])


def _snapshot_path(one: Wanted) -> str:
    if one.method is Method.BASE_BACKUP:
        return f"{one.server.folder}/{BASE_BACKUP}"
    return one.server.folder if one.database is None else f"{one.server.folder}/{file_name(one.database, one.format)}"
