"""`ScratchServer`: a Redis server of our own that has read an RDB file, to take its keys out one by one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from limpet.contracts.process import InputProcess
from limpet.errors import DestinationError

from limpet_source_redis.server import connect

PROGRAM, PACKAGE = "redis-server", "redis-server"
RDB = "dump.rdb"
_MOST_DATABASES = 10_000
"""Servers have 16 of them unless they were told otherwise; an empty one costs a kilobyte."""
_LONGEST_SOCKET_PATH = 100
# The server and its folders go when our end of its standard input does, however we end.
_SCRIPT = """
one=$1 other=$2; shift 2
exec 3<&0
"$@" 3<&- & server=$!
(cat <&3; kill $server; while kill -0 $server; do sleep 0.05; done; rm -rf -- "$one" "$other") 2>/dev/null &
exec 3<&-
wait $server
"""


class ScratchServer:
    """Listens on nothing but a socket in a folder that only we may enter. Removes its folder when it is closed."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="limpet-redis-"))
        self._folders = [folder]
        self._process: InputProcess | None = None
        self.rdb = folder / RDB
        """To be written before the server is started."""
        self._log = folder / "log"
        if len(str(folder)) > _LONGEST_SOCKET_PATH:
            folder = Path(tempfile.mkdtemp(prefix="limpet-redis-", dir="/tmp"))  # made for us alone
            self._folders.append(folder)
        self._socket = folder / "s"

    @property
    def connection(self) -> Mapping[str, Any]:
        """How to connect to it."""
        return {"unix_socket_path": str(self._socket)}

    def start(self) -> None:
        """Start it, and wait until it has read the file; DestinationError if it cannot."""
        settings = {
            "port": "0", "unixsocket": self._socket, "unixsocketperm": "700", "dir": self.rdb.parent,
            "dbfilename": RDB, "save": "", "appendonly": "no", "daemonize": "no", "logfile": self._log,
            "databases": _MOST_DATABASES,
        }  # fmt: skip
        arguments = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
        try:
            folders = [str(self._folders[0]), str(self._folders[-1])]
            self._process = InputProcess(["sh", "-c", _SCRIPT, "sh", *folders, PROGRAM, *arguments], lambda _: None)
        except OSError as error:
            raise DestinationError(f"failed to start command {PROGRAM}: {error}") from error
        import redis  # noqa: PLC0415  # slow to import

        with connect(self.connection) as client:
            while True:
                try:
                    client.ping()
                except (redis.exceptions.BusyLoadingError, redis.exceptions.ConnectionError, OSError):
                    if not self._process.is_running:
                        raise DestinationError(f"{PROGRAM} cannot read the RDB file: {self._reason()}") from None
                    time.sleep(0.02)
                else:
                    return

    def close(self) -> None:
        """End it, and remove all that it had. Idempotent."""
        if self._process is not None:
            self._process.end()
            self._process = None
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _reason(self) -> str:
        """The last complaint in its log."""
        lines = self._log.read_text(errors="replace").splitlines() if os.path.exists(self._log) else []
        complaints = [line.partition(" # ")[2] for line in lines if " # " in line]
        return complaints[-1] if complaints else "it ended at once"
