"""`MysqlSource`: databases of a MariaDB or MySQL server, as SQL text or as a copy of all its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource
from limpet.contracts.options import Option
from limpet.contracts.password import password_options
from limpet.contracts.service import ServiceAddress
from limpet.contracts.source import ParentInfo, SourceRequest
from limpet.errors import SourceError, UsageError

from limpet_source_mysql.charset import CharacterSet, ask_character_set
from limpet_source_mysql.commands import dump_command, physical_command
from limpet_source_mysql.destination import MysqlDestination
from limpet_source_mysql.floats import rounded_columns, words_about
from limpet_source_mysql.grouping import grouped
from limpet_source_mysql.names import ALL_DATABASES, PHYSICAL, SQL, database_file
from limpet_source_mysql.server import PARAMETERS, SCHEME, Server, identifier

_METHODS = ("dump", "mariabackup")


@dataclass(slots=True)
class _Wanted:
    """One address, and the dump that comes out of it."""

    server: Server
    database: str
    """Empty for all."""
    tables: Sequence[str] = ()
    excluded: Sequence[str] = ()
    is_physical: bool = False
    said: list[str] = field(default_factory=list)
    """What the command says on its standard error: a warning if it ends well, else the reason is told with the end."""
    character_set: CharacterSet | None = None

    @property
    def path(self) -> str:
        """Of its file in the snapshot."""
        if self.is_physical:
            return f"{self.server.folder}/{PHYSICAL}"
        name = database_file(self.database, self.tables) if self.database else ALL_DATABASES + SQL
        return f"{self.server.folder}/{name}"

    def dump(self) -> Dump:
        """Its command; UsageError where the program is not there."""
        what = self.server.shown
        if self.is_physical:
            argv = physical_command(self.server)
            return Dump(self.path, argv, self.server.environment, what, tell=self.said.append)
        argv = dump_command(self.server, self.database, self.tables, self.excluded)
        dump = Dump(self.path, argv, self.server.environment, what, tell=self.said.append)
        dump.filtered = partial(_joined, self, dump)
        return dump


class MysqlSource(DumpSource):
    """Databases of MariaDB and MySQL: `mysql://USER@HOST/DATABASE`, all of them without a name.

    One transaction sees a whole dump at one moment, while others go on writing.
    """

    contract_version: ClassVar[int] = 1
    destination: ClassVar[type[Destination] | None] = MysqlDestination
    options: ClassVar[Sequence[Option]] = (
        *password_options(SCHEME),
        Option("defaults_file", "file of options for the client programs, as ~/.my.cnf: user, password, TLS"),
        Option(
            "overwrite", "restore --into: replace what a database that is not empty holds", "boolean", default=False
        ),
    )

    def __init__(self, request: SourceRequest, wanted: Sequence[_Wanted]) -> None:
        super().__init__(request, [one.dump() for one in wanted])
        self._wanted = wanted
        self._reporter = request.reporter

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for an address that makes no sense or a program that is not there."""
        return cls(request, [_wanted(target, request) for target in request.targets])

    def begin(self, parent: ParentInfo | None) -> None:
        """SourceError for servers that do not let us in, or have no such database: before anything is stored."""
        failures: dict[str, str] = {}
        for one in self._wanted:
            if not one.is_physical:  # Whose program signs in with what it needs, and the client may not be there.
                try:
                    self._ask(one)
                except SourceError as error:
                    failures[one.path] = str(error)
        if failures:
            raise SourceError("; ".join(failures.values()), targets=list(failures))

    def finish(self) -> None:
        """As in the base class. What commands that ended well had to say is told to the reporter."""
        super().finish()
        if self._reporter is not None:
            for one in self._wanted:
                for line in one.said if not one.is_physical else ():
                    self._reporter.warning(line)

    def _ask(self, wanted: _Wanted) -> None:
        wanted.character_set = ask_character_set(wanted.server, wanted.database, SourceError)
        if self._reporter is not None and (rounded := rounded_columns(wanted.server, wanted.database, SourceError)):
            self._reporter.note(f"{wanted.server.shown}: {words_about(rounded)}")


def _wanted(target: str, request: SourceRequest) -> _Wanted:
    address = ServiceAddress.parse(SCHEME, target)
    address.refuse_unknown_parameters("method", "tables", "exclude_tables", *PARAMETERS)
    method = address.parameters.get("method", _METHODS[0])
    if method not in _METHODS:
        raise UsageError(f"{address}: no method is called {method!r} (possible: {', '.join(_METHODS)})")
    tables, excluded = _names(address, "tables"), _names(address, "exclude_tables")
    if method != _METHODS[0] and (address.path or tables or excluded):
        raise UsageError(f"{address}: mariabackup copies the whole server: leave out the database and the tables")
    if (tables or excluded) and not address.path:
        raise UsageError(f"{address}: tables are those of one database, and none is named")
    if tables and excluded:
        raise UsageError(f"{address}: tables and exclude_tables are both given: what is not named is left out anyway")
    server = Server.of(address, request.options)
    return _Wanted(server, address.path, tables, excluded, is_physical=method != _METHODS[0])


def _names(address: ServiceAddress, parameter: str) -> Sequence[str]:
    if parameter not in address.parameters:
        return ()
    names = address.parameters[parameter].split(",")
    if not all(names):
        raise UsageError(f"{address}: {parameter} is not of the form NAME,NAME")
    return names


def _joined(wanted: _Wanted, dump: Dump, output: BinaryIO) -> BinaryIO:
    header = b"" if wanted.character_set is None else wanted.character_set.header()
    name = identifier(wanted.database).encode("utf-8", "surrogateescape") if wanted.database else b""
    return grouped(output, header, name, partial(_ended, dump))


def _ended(dump: Dump, is_whole: bool) -> None:
    problem = dump.problem()
    if problem is None and not is_whole:
        dump.failure = problem = f"{dump.what}: command {dump.argv[0]} ended well, but its dump has no end"
    if problem is not None:
        raise SourceError(problem, targets=[dump.path])
