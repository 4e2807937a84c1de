"""`MongodbDestination`: an archive goes back into a server, by mongorestore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile, feed
from limpet.contracts.made_dump import PrivateFolder
from limpet.errors import DestinationError, UsageError
from limpet.progress import SilentReporter

from limpet_source_mongodb.names import ARCHIVE, database_of, has_oplog
from limpet_source_mongodb.server import Server, tool


class MongodbDestination(Destination):
    """A database, which may have another name than the one it came from; without a name all databases."""

    def __init__(self, request: DestinationRequest, server: Server) -> None:
        self._request = request
        self._server = server
        self._folder = PrivateFolder()

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for a bad address, or where mongorestore is missing. No server is asked."""
        server = Server.parse(request.place, request.options)
        tool("mongorestore")
        return cls(request, server)

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """The only archive there is; UsageError for one that does not fit the address."""
        [path] = super().wanted(paths)
        if not path.endswith(ARCHIVE):
            raise UsageError(f"{path} is no archive of mongodump: it does not end in {ARCHIVE}")
        stored = database_of(path)
        if stored is None and self._server.database:
            raise UsageError(f"{path} holds all databases under their own names: leave out {self._server.database!r}")
        if stored is not None and not self._server.database:
            raise UsageError(f"{path} goes into one database: name it, {self._server.shown.rstrip('/')}/{stored}")
        return [path]

    def receive(self, file: StoredFile) -> None:
        """Have mongorestore load it; DestinationError if it does not end well."""
        argv = [tool("mongorestore"), f"--uri={self._server.uri}", *self._server.config(self._folder.path, "0.yaml")]
        # Without it a document that cannot be stored is only counted, and the exit code is 0.
        argv += ["--archive", "--stopOnError"]
        if self._request.options.get("drop"):
            argv.append("--drop")
        if has_oplog(file.path):
            argv.append("--oplogReplay")
        stored, wanted = database_of(file.path), self._server.database
        if stored is not None:
            argv.append(f"--nsInclude={_literal(stored)}.*")
            if stored != wanted:
                argv += [f"--nsFrom={_literal(stored)}.*", f"--nsTo={_literal(wanted)}.*"]
        try:
            # mongorestore tells of each collection; why it fails is told with its end.
            feed(file, argv, replace(self._request, reporter=SilentReporter()))
        except DestinationError as error:
            raise error.saying(f"{self._server.shown}: {error}; what came before that is there") from error

    def close(self) -> None:
        """Remove the file with the password."""
        self._folder.close()


def _literal(name: str) -> str:
    """The name where the tool takes patterns."""
    return "".join(f"\\{letter}" if letter in "\\*$" else letter for letter in name)
