"""`MongodbSource`: databases of a MongoDB server, each as the archive that mongodump writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource
from limpet.contracts.made_dump import PrivateFolder
from limpet.contracts.options import Option
from limpet.contracts.password import password_options
from limpet.contracts.source import SourceRequest
from limpet.errors import UsageError
from limpet.progress import SilentReporter

from limpet_source_mongodb.destination import MongodbDestination
from limpet_source_mongodb.names import all_name, archive_name
from limpet_source_mongodb.server import SCHEME, Server, tool


class MongodbSource(DumpSource):
    """One database, or all of a server with the writes that happen meanwhile: `mongodb://USER@HOST/DATABASE`."""

    contract_version: ClassVar[int] = 1
    destination: ClassVar[type[Destination] | None] = MongodbDestination
    options: ClassVar[Sequence[Option]] = (
        *password_options(SCHEME),
        Option(
            "oplog",
            "dump of all databases: with the writes that happen meanwhile, so that it is of one moment; replica sets",
            type="boolean",
            default=True,
        ),
        Option("collections", "how many collections are dumped at the same time", type="integer", default=1),
        Option("drop", "restore: drop the collections of the archive before", type="boolean", default=False),
    )

    def __init__(self, request: SourceRequest, servers: Sequence[Server]) -> None:
        self._folder = PrivateFolder()
        self._reporter = request.reporter or SilentReporter()
        self._oplog = bool(request.options.get("oplog", True))
        self._collections = int(request.options.get("collections") or 1)
        dumps = [self._dump(server, f"{number}.yaml") for number, server in enumerate(servers)]
        super().__init__(request, dumps)

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for a bad address or option, or where mongodump is missing. No server is asked."""
        if not request.targets:
            raise UsageError("mongodb: no server was named: write mongodb://HOST/DATABASE")
        servers = [Server.parse(target, request.options) for target in request.targets]
        shown = [(server.folder, server.database) for server in servers]
        if len(set(shown)) < len(shown):
            raise UsageError("mongodb: a database is named twice: " + ", ".join(server.shown for server in servers))
        if int(request.options.get("collections") or 1) < 1:
            raise UsageError("mongodb.collections: one at the same time is the least")
        tool("mongodump")
        return cls(request, servers)

    def close(self) -> None:
        """End whatever still runs, and remove the files with the passwords."""
        super().close()
        self._folder.close()

    def _dump(self, server: Server, config: str) -> Dump:
        # Several at the same time come in an order of chance, and nothing would be stored only once.
        argv = [tool("mongodump"), f"--uri={server.uri}", *server.config(self._folder.path, config), "--archive"]
        argv.append(f"--numParallelCollections={self._collections}")
        if server.database:
            name = archive_name(server.database)
            argv.append(f"--db={server.database}")
        else:
            name = all_name(oplog=self._oplog)
            argv += ["--oplog"] if self._oplog else []
        return Dump(f"{server.folder}/{name}", argv, what=server.shown, tell=self._progress)

    def _progress(self, line: str) -> None:
        """mongodump tells of each collection; why it fails is told with its end."""
        self._reporter.note(line, verbosity=2)
