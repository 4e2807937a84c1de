"""`RedisSource`: all that a Redis server holds, as the RDB file that it would write itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource, require_program
from limpet.contracts.options import Option
from limpet.contracts.password import password_options
from limpet.contracts.service import ServiceAddress
from limpet.contracts.source import ParentInfo, SourceRequest
from limpet.errors import SourceError

from limpet_source_redis.destination import FILE_NAME, RedisDestination
from limpet_source_redis.rdb import checked
from limpet_source_redis.server import PARAMETERS, SCHEME, Server, connect, told_as

PROGRAM, PACKAGE = "redis-cli", "redis-tools"


@dataclass(slots=True)
class _Wanted:
    server: Server
    said: list[str] = field(default_factory=list)
    """What redis-cli says on its way; only its last words matter, and only if it fails."""

    @property
    def path(self) -> str:
        """Of its file in the snapshot."""
        return f"{self.server.folder}/{FILE_NAME}"

    def dump(self) -> Dump:
        """The command that lets the server send what it holds, as to a replica."""
        argv = [PROGRAM, *self.server.arguments, "--no-auth-warning", "--rdb", "-"]
        dump = Dump(self.path, argv, self.server.environment, self.server.shown, tell=self.said.append)
        dump.filtered = partial(checked, ended=partial(_ended, dump))
        return dump


class RedisSource(DumpSource):
    """Everything in a Redis server as of one moment: `redis://USER@HOST:PORT`, as an RDB file."""

    contract_version: ClassVar[int] = 1
    destination: ClassVar[type[Destination] | None] = RedisDestination
    options: ClassVar[Sequence[Option]] = (
        *password_options(SCHEME),
        Option("overwrite", "restore --into: remove all that the server holds before", "boolean", default=False),
    )

    def __init__(self, request: SourceRequest, wanted: Sequence[_Wanted]) -> None:
        super().__init__(request, [one.dump() for one in wanted])
        self._wanted = wanted

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for an address that makes no sense, or without redis-cli."""
        require_program(PROGRAM, PACKAGE)
        return cls(request, [_wanted(target, request) for target in request.targets])

    def begin(self, parent: ParentInfo | None) -> None:
        """SourceError for servers that do not let us in: before anything is stored."""
        failures: dict[str, str] = {}
        for one in self._wanted:
            try:
                with told_as(SourceError, one.server.shown), connect(one.server.connection) as client:
                    client.ping()
            except SourceError as error:
                failures[one.path] = str(error)
        if failures:
            raise SourceError("; ".join(failures.values()), targets=list(failures))


def _wanted(target: str, request: SourceRequest) -> _Wanted:
    address = ServiceAddress.parse(SCHEME, target)
    address.refuse_unknown_parameters(*PARAMETERS)
    return _Wanted(Server.of(address, request.options))


def _ended(dump: Dump, problem: str | None) -> None:
    failure = dump.problem()
    if failure is None and problem is not None:
        dump.failure = failure = f"{dump.what}: {problem}"
    if failure is not None:
        raise SourceError(failure, targets=[dump.path])
