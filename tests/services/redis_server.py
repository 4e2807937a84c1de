"""A real Redis server from the system's package, on a socket and a loopback port of its own."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import redis

from tests.services.closing import Closing
from tests.services.process import START_LIMIT_S, ServerProcess, free_port, program


class RedisServer(Closing):
    """Runs in `folder` until `close`; writes nothing to disk. `settings` are more of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._daemon = program("redis-server")
        self.folder = folder
        # The path of a socket has room for a hundred characters only, those of the tests' folders are longer.
        self._short = Path(f"/tmp/limpet-redis-server-{os.getpid()}-{free_port()}")
        self._short.mkdir(mode=0o700)
        self.socket = self._short / "sock"
        self.port = free_port()
        self._password = settings.get("requirepass")
        self._settings = settings
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "unixsocket": str(self.socket),
            "save": "", "appendonly": "no", "daemonize": "no",
            "repl-diskless-sync-delay": "0",  # else it waits five seconds for other replicas
            **{name.replace("_", "-"): value for name, value in self._settings.items()},
        }  # fmt: skip
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self.process = ServerProcess([self._daemon, *arguments], self.folder / "server.log")
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.client().ping()
            except redis.ConnectionError:
                assert self.process.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def client(self, database: int = 0) -> Any:
        """A client that has all rights."""
        return redis.Redis(unix_socket_path=str(self.socket), db=database, password=self._password)

    def close(self) -> None:
        """End it. Idempotent."""
        self.process.close()
        shutil.rmtree(self._short, ignore_errors=True)
