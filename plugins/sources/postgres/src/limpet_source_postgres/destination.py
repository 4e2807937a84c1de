"""`PostgresDestination`: dumps of a snapshot go back into a server, by psql and pg_restore."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, Piece, StoredFile, feed
from limpet.contracts.dump import require_program
from limpet.errors import DestinationError, SourceError, UsageError

from limpet_source_postgres.address import Wanted, wanted
from limpet_source_postgres.archive import MAGIC
from limpet_source_postgres.formats import Method
from limpet_source_postgres.globals import without_what_is_there
from limpet_source_postgres.names import CREATION, GLOBALS, database_of
from limpet_source_postgres.selection import of_one_database, of_server
from limpet_source_postgres.tools import PACKAGE, PG_RESTORE, PSQL, PSQL_SCRIPT

_TAR_MAGIC, _TAR_MAGIC_OFFSET = b"ustar", 257
_HEAD_SIZE = 512
# What the user made: not the system's own, not what extensions brought, not what comes along with something else.
_HAS_CONTENT = """
SELECT EXISTS (
    SELECT FROM (
        SELECT 'pg_class'::regclass AS kind, c.oid, relnamespace AS namespace FROM pg_class c
            WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        UNION ALL SELECT 'pg_proc'::regclass, p.oid, pronamespace FROM pg_proc p
        UNION ALL SELECT 'pg_type'::regclass, t.oid, typnamespace FROM pg_type t
            WHERE typtype <> 'm' AND typcategory <> 'A'
        UNION ALL SELECT 'pg_namespace'::regclass, n.oid, n.oid FROM pg_namespace n
    ) AS made JOIN pg_namespace n ON n.oid = namespace
    WHERE made.oid >= 16384 AND nspname !~ '^pg_' AND nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = kind AND d.objid = made.oid AND d.deptype = 'e')
) OR EXISTS (SELECT FROM pg_largeobject_metadata)
"""


class PostgresDestination(Destination):
    """One database, or all that a server's folder in the snapshot holds. Each dump is loaded whole or not at all."""

    def __init__(self, request: DestinationRequest, into: Wanted) -> None:
        self._request = request
        self._into = into
        self._server = into.server
        self._entry = ""
        """A database to connect to for what concerns no other."""
        self._unfinished: str | None = None
        """A database that was created for a dump that is not in it yet."""

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for a bad address or option, or a program that is missing. No server is asked."""
        into = wanted(request.place, request.options)
        if into.method is Method.BASE_BACKUP:
            raise UsageError(f"{into}: a base backup is no content of a running server; {_UNPACK}")
        for program in (PSQL, PG_RESTORE):
            require_program(program, PACKAGE)
        return cls(request, into)

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """The database's dump, or without a name all of one server: roles and databases first.

        UsageError where it is not to be told which; DestinationError where the server does not answer, or has a
        database that is not empty.
        """
        name = self._into.database
        chosen = of_server(paths) if name is None else of_one_database(paths, name)
        self._entry = self._maintenance_database()
        there = self._databases()
        for database in [name] if name is not None else [database_of(path) for path in chosen]:
            if database in there:
                self._refuse_content(database)
        return chosen

    def receive(self, file: StoredFile) -> None:
        """Load it; DestinationError with what the tool said where it failed, and what is left of it if anything is."""
        name = file.path.rpartition("/")[2]
        if self._into.database is None and name in {GLOBALS, CREATION}:
            self._run_script(file, is_globals=name == GLOBALS)
        else:
            self._load(file, self._into.database or database_of(file.path) or "")

    def close(self) -> None:
        """Drop a database that was created for a dump that could not be loaded; where that fails it is told."""
        if self._unfinished is None:
            return
        database, self._unfinished = self._unfinished, None
        try:
            # The server may not have noticed yet that the tool is gone.
            self._ask(self._entry, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_is_in(database)}")
            self._ask(self._entry, f"DROP DATABASE IF EXISTS {_quoted(database)}")
        except DestinationError as error:
            if self._request.reporter is not None:
                self._request.reporter.warning(f"the database {database!r} was created, and cannot be dropped: {error}")

    def _run_script(self, file: StoredFile, *, is_globals: bool) -> None:
        if is_globals:
            file = without_what_is_there(file, lambda question: self._ask(self._entry, question))
        connection = self._server.connection(self._entry)
        feed(file, [*PSQL_SCRIPT, "-d", connection, "-f", "-"], self._request, self._environment())

    def _load(self, file: StoredFile, database: str) -> None:
        head = _head(file)
        if head[_TAR_MAGIC_OFFSET:].startswith(_TAR_MAGIC):
            raise DestinationError(f"{file.path} is a base backup, no content of a running server; {_UNPACK}")
        if database not in self._databases():
            self._ask(self._entry, f"CREATE DATABASE {_quoted(database)} TEMPLATE template0")
            self._unfinished = database
        if not head.startswith(MAGIC):
            file = _in_a_transaction(file)
        try:
            feed(file, self._loader(head, self._server.connection(database)), self._request, self._environment())
        except DestinationError as error:
            if self._unfinished is None and not self._adds and self._has_content(database):
                # Large objects in a plain dump bring a COMMIT of their own.
                raise DestinationError(f"{error}; a part of the dump is in the database {database!r} now") from error
            raise
        self._unfinished = None

    def _loader(self, head: bytes, connection: str) -> Sequence[str]:
        if not head.startswith(MAGIC):
            return [*PSQL_SCRIPT, "-d", connection, "-f", "-"]
        argv = [PG_RESTORE, "-w", "--exit-on-error", "--single-transaction", "-d", connection]
        return argv if self._request.options.get("owners") is not False else [*argv, "--no-owner", "--no-privileges"]

    def _refuse_content(self, database: str) -> None:
        if not self._adds and self._has_content(database):
            raise DestinationError(
                f"{self._into}: the database {database!r} is not empty; name another, drop it, "
                "or load into it as it is with `-o postgres.into_existing=true`"
            )

    @property
    def _adds(self) -> bool:
        return bool(self._request.options.get("into_existing"))

    def _has_content(self, database: str) -> bool:
        return self._ask(database, _HAS_CONTENT) == ["t"]

    def _databases(self) -> set[str]:
        return set(self._ask(self._entry, "SELECT datname FROM pg_database"))

    def _maintenance_database(self) -> str:
        try:
            return self._server.maintenance_database(PSQL)
        except SourceError as error:
            raise DestinationError(str(error)) from error

    def _ask(self, database: str, question: str) -> list[str]:
        try:
            return self._server.ask(PSQL, database, question)
        except SourceError as error:
            raise DestinationError(str(error)) from error

    def _environment(self) -> dict[str, str]:
        # Notices say nothing that matters here, and there is one for every index of old dumps.
        quiet = f"{os.environ.get('PGOPTIONS', '')} -c client_min_messages=warning".strip()
        return {**self._server.environment(), "PGOPTIONS": quiet}


_UNPACK = "restore the file to a disk and unpack it with tar into an empty data folder"


def _in_a_transaction(file: StoredFile) -> StoredFile:
    """The plain dump with its own BEGIN and COMMIT.

    psql's `--single-transaction` commits at the end of its input: also where that is our own end, by SIGKILL.
    """
    begin, commit = b"BEGIN; ", b"\nCOMMIT;\n"  # in its first line, so that errors name the right one

    def pieces() -> Iterator[Piece]:
        yield Piece(len(begin), begin)
        yield from file.pieces()
        yield Piece(len(commit), commit)

    return replace(file, size_bytes=file.size_bytes + len(begin) + len(commit), pieces=pieces)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _is_in(database: str) -> str:
    literal = database.replace("\\", "\\\\").replace("'", "''")
    return f"datname = E'{literal}'"


def _head(file: StoredFile) -> bytes:
    head = b""
    for piece in file.pieces():
        head += _bytes(piece)
        if len(head) >= _HEAD_SIZE:
            break
    return head[:_HEAD_SIZE]


def _bytes(piece: Piece) -> bytes:
    return bytes(min(piece.size_bytes, _HEAD_SIZE)) if piece.data is None else bytes(piece.data[:_HEAD_SIZE])
