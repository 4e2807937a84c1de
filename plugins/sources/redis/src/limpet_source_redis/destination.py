"""`RedisDestination`: an RDB file goes into a running server, key by key.

No command of Redis reads an RDB file. A server of our own, reachable by us alone, reads it; every key goes from there
to the target by DUMP and RESTORE, with its time to live. So the target may be anywhere, and needs no restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile
from limpet.contracts.dump import require_program
from limpet.contracts.service import ServiceAddress
from limpet.errors import DestinationError, UsageError

from limpet_source_redis import scratch_server
from limpet_source_redis.scratch_server import ScratchServer
from limpet_source_redis.server import PARAMETERS, SCHEME, Server, connect, told_as

FILE_NAME = "dump.rdb"
BATCH_KEYS = 200
"""Keys on their way at a time."""
_NO_SUCH_KEY, _NO_LIMIT = -2, -1
_TELLS_TIMES = 7
"""The version that began to."""
_SHOWN_BYTES = 60


class RedisDestination(Destination):
    """A Redis server that holds nothing, or whose content is replaced with `overwrite`."""

    def __init__(self, server: Server, *, overwrite: bool) -> None:
        self._server = server
        self._overwrite = overwrite
        self._scratch: ScratchServer | None = None
        self._knows_when = False
        """Whether our own server tells when a key expires, not only in how long."""

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for a bad address, or without a redis-server to read the file with."""
        address = ServiceAddress.parse(SCHEME, request.place)
        address.refuse_unknown_parameters(*PARAMETERS)
        require_program(scratch_server.PROGRAM, scratch_server.PACKAGE)
        return cls(Server.of(address, request.options), overwrite=bool(request.options.get("overwrite")))

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """The only file there is; UsageError for one that is no RDB file by its name."""
        [path] = super().wanted(paths)
        if not path.endswith(".rdb"):
            raise UsageError(f"{path} is no dump of Redis: it does not end in .rdb")
        return [path]

    def receive(self, file: StoredFile) -> None:
        """Fill the server; DestinationError for one that is not empty, or does not take a key."""
        failed = partial(told_as, DestinationError, self._server.shown)
        with failed(), connect(self._server.connection) as target:
            self._refuse_content(target)
        with told_as(DestinationError, file.path):
            self._scratch = ScratchServer()
            with self._scratch.rdb.open("xb") as rdb:
                for piece in file.pieces():
                    rdb.write(bytes(piece.size_bytes) if piece.data is None else piece.data)
            self._scratch.start()
        with failed():
            self._fill(self._scratch)

    def close(self) -> None:
        """End the server that read the file, and remove what it read."""
        if self._scratch is not None:
            self._scratch.close()

    def _refuse_content(self, target: Any) -> None:
        content = [f"{count} keys in database {number}" for number, count in _databases(target).items()]
        content += ["functions"] if _functions(target) else []
        if content and not self._overwrite:
            raise DestinationError(
                f"{self._server.shown}: the server is not empty ({', '.join(content)}); take another one,"
                f" or remove all that it holds with -o {SCHEME}.overwrite=true"
            )

    def _fill(self, scratch: ScratchServer) -> None:
        with connect(scratch.connection) as origin, connect(self._server.connection) as target:
            self._knows_when = int(origin.info("server")["redis_version"].partition(".")[0]) >= _TELLS_TIMES
            if self._overwrite:
                target.flushall()
            evicted = _evicted(target)
            if _functions(origin):
                target.function_restore(origin.function_dump(), "FLUSH")
            elif self._overwrite and _functions(target):
                target.function_flush()
            for number in _databases(origin):
                with connect(scratch.connection, number) as keys, connect(self._server.connection, number) as place:
                    self._copy_database(keys, place)
            if lost := _evicted(target) - evicted:
                raise DestinationError(
                    f"{self._server.shown}: the server has dropped {lost} keys again, as its maxmemory makes it do"
                )

    def _copy_database(self, origin: Any, target: Any) -> None:
        """All keys of one database. One that a scan names twice is stored twice, and is the same."""
        batch: list[bytes] = []
        for key in origin.scan_iter(count=BATCH_KEYS):
            batch.append(key)
            if len(batch) == BATCH_KEYS:
                self._copy(origin, target, batch)
                batch = []
        if batch:
            self._copy(origin, target, batch)

    def _copy(self, origin: Any, target: Any, keys: Sequence[bytes]) -> None:
        is_absolute = self._knows_when
        asked = origin.pipeline(transaction=False)
        for key in keys:
            asked.dump(key)
            (asked.pexpiretime if is_absolute else asked.pttl)(key)
        answers = asked.execute()
        stored = target.pipeline(transaction=False)
        named = []
        for key, value, limit_ms in zip(keys, answers[::2], answers[1::2], strict=True):
            if value is not None and limit_ms != _NO_SUCH_KEY:  # else its time came meanwhile
                # 0 is no limit, and what has less than a millisecond left is about to go.
                until_ms = 0 if limit_ms == _NO_LIMIT else max(limit_ms, 1)
                stored.restore(key, until_ms, value, replace=True, absttl=is_absolute)
                named.append(key)
        for key, answer in zip(named, stored.execute(raise_on_error=False), strict=True):
            if isinstance(answer, Exception):
                raise DestinationError(f"{self._server.shown}: key {_shown(key)}: {answer}") from answer


def _databases(client: Any) -> dict[int, int]:
    """How many keys there are in each database that has any."""
    keyspace = client.info("keyspace")
    return {int(name.removeprefix("db")): facts["keys"] for name, facts in keyspace.items()}


def _functions(client: Any) -> bool:
    """Whether there are any; servers before 7.0 have none."""
    import redis  # noqa: PLC0415  # slow to import

    try:
        return bool(client.function_list())
    except redis.ResponseError as error:
        if "unknown command" in str(error).lower():
            return False
        raise


def _evicted(client: Any) -> int:
    return int(client.info("stats").get("evicted_keys", 0))


def _shown(key: bytes) -> str:
    return repr(key[:_SHOWN_BYTES])[1:] + ("..." if len(key) > _SHOWN_BYTES else "")
