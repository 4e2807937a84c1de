"""`MysqlDestination`: a dump goes back into a database of its own, or all databases into a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, Piece, StoredFile, feed
from limpet.contracts.service import ServiceAddress
from limpet.errors import DestinationError, UsageError
from limpet.progress import SilentReporter

from limpet_source_mysql.charset import CharacterSet
from limpet_source_mysql.grouping import END_MARK
from limpet_source_mysql.names import PHYSICAL, SQL, database_of, holds_all_databases
from limpet_source_mysql.server import (
    PARAMETERS,
    SCHEME,
    SYSTEM_DATABASES,
    Server,
    client_program,
    identifier,
    is_mysqls_own,
    quoted,
)

_HEAD_SIZE = 4096
_TAIL_SIZE = 256
_SANDBOX = b"/*M!999999\\- enable the sandbox mode */"
"""MariaDB's first line, a command that MySQL's client takes for a mistake."""
_WITH_FOLDER = 4
"""Parts of the path of a file with some tables: `/mysql/HOST/DATABASE/TABLES.sql` has one more than the others."""


class MysqlDestination(Destination):
    """A database that is made, or is empty, or is replaced with `overwrite`; without a name all databases."""

    def __init__(self, server: Server, database: str, *, overwrite: bool) -> None:
        self._server = server
        self._database = database
        self._overwrite = overwrite
        self._is_mysqls_own = is_mysqls_own(client_program())

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for a bad address or where the client program is not there."""
        address = ServiceAddress.parse(SCHEME, request.place)
        address.refuse_unknown_parameters(*PARAMETERS)
        server = Server.of(address, request.options)
        return cls(server, address.path, overwrite=bool(request.options.get("overwrite")))

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """The only dump there is; UsageError for one that does not fit the address."""
        [path] = super().wanted(paths)
        if path.endswith(f"/{PHYSICAL}"):
            raise UsageError(
                f"{path} is a copy of a server's files, no SQL: write it out with `limpet dump`, unpack it with"
                " mbstream, and let mariadb-backup prepare it (see the README of limpet-source-mysql)"
            )
        if not path.endswith(SQL):
            raise UsageError(f"{path} is no dump of a database: it does not end in {SQL}")
        if holds_all_databases(path) and self._database:
            raise UsageError(f"{path} holds all databases under their own names: leave out {self._database!r}")
        if not holds_all_databases(path) and not self._database:
            raise UsageError(
                f"{path} goes into one database: name it, {self._server.shown.rstrip('/')}/{database_of(path)}"
            )
        return [path]

    def receive(self, file: StoredFile) -> None:
        """Load the dump; DestinationError for a database that is in use, a failing import or a cut file."""
        if self._database:
            self._make_room(file)
        else:
            self._refuse_databases()
        checked = _Checked(file, without_sandbox=self._is_mysqls_own)
        # What the client says is in the error: once is enough.
        request = DestinationRequest(self._server.shown, reporter=SilentReporter())
        arguments = [f"--database={self._database}"] if self._database else []
        try:
            feed(
                replace(file, pieces=checked.pieces), self._server.client(*arguments), request, self._server.environment
            )
        except DestinationError as error:
            raise error.saying(f"{self._server.shown}: {error}") from error
        if not checked.is_whole:
            raise DestinationError(f"{file.path}: the dump has no end: {self._server.shown} got a part of it only")

    def close(self) -> None:
        """Nothing is kept between the calls."""

    def _make_room(self, file: StoredFile) -> None:
        name = identifier(self._database)
        if self._is_in_use():
            if not self._overwrite:
                raise DestinationError(
                    f"{self._server.shown}: the database is not empty; name another one,"
                    f" or replace it with -o {SCHEME}.overwrite=true"
                )
            if file.path.count("/") < _WITH_FOLDER:  # Else it replaces its tables, and leaves the others alone.
                self._ask(f"DROP DATABASE {name}")
        character_set = CharacterSet.found(_head(file))
        clause = "" if character_set is None else f" {character_set.clause()}"
        self._ask(f"CREATE DATABASE IF NOT EXISTS {name}{clause}")

    def _is_in_use(self) -> bool:
        """Whether there is anything in the database; not for one that is not there."""
        database = quoted(self._database)
        questions = [
            f"SELECT 1 FROM information_schema.{view} WHERE {column} = {database}"
            for view, column in (
                ("tables", "table_schema"), ("routines", "routine_schema"), ("events", "event_schema")
            )
        ]  # fmt: skip
        return bool(self._ask(" UNION ".join(questions)))

    def _refuse_databases(self) -> None:
        if self._overwrite:
            return
        system = ", ".join(quoted(name) for name in SYSTEM_DATABASES)
        found = self._ask(f"SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ({system})")
        if found:
            raise DestinationError(
                f"{self._server.shown}: the server has databases already ({', '.join(found)});"
                f" replace those of the same names with -o {SCHEME}.overwrite=true"
            )

    def _ask(self, statement: str) -> list[str]:
        return self._server.ask(statement, DestinationError)


class _Checked:
    """A dump on its way, and whether it came to its end."""

    def __init__(self, file: StoredFile, *, without_sandbox: bool) -> None:
        self._file = file
        self._without_sandbox = without_sandbox
        self._tail = b""

    @property
    def is_whole(self) -> bool:
        """Whether the last line was the dump's own end mark."""
        return self._tail.rstrip().rpartition(b"\n")[2].startswith(END_MARK)

    def pieces(self) -> Iterator[Piece]:
        """The content, without the first line where the client would not understand it."""
        is_first = True
        for piece in self._file.pieces():
            data = bytes(piece.size_bytes) if piece.data is None else bytes(piece.data)
            if is_first and self._without_sandbox and data.startswith(_SANDBOX):
                data = data[data.index(b"\n") + 1 :] if b"\n" in data else b""
            is_first = False
            self._tail = (self._tail + data[-_TAIL_SIZE:])[-_TAIL_SIZE:]
            yield Piece(len(data), data)


def _head(file: StoredFile) -> bytes:
    head = b""
    for piece in file.pieces():
        head += bytes(piece.size_bytes) if piece.data is None else bytes(piece.data[:_HEAD_SIZE])
        if len(head) >= _HEAD_SIZE:
            break
    return head
