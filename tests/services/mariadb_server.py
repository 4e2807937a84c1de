"""A real MariaDB server from the system's package, on a socket and a loopback port of its own."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from pathlib import Path

from tests.services.closing import Closing
from tests.services.process import START_LIMIT_S, ServerProcess, free_port, program


class MariadbServer(Closing):
    """Runs in `folder` until `close`; `root` signs in without a password, by socket or from this machine."""

    def __init__(self, folder: Path, *, data: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._daemon = program("mariadbd")
        self.folder = folder
        self.data = data or folder / "data"
        # The path of a socket has room for a hundred characters only, those of the tests' folders are longer.
        self._short = Path(f"/tmp/limpet-mariadb-{os.getpid()}-{free_port()}")
        self._short.mkdir(mode=0o700)
        self.socket = self._short / "sock"
        self.port = free_port()
        if data is None:
            self._install()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "server.log"
        self.process = ServerProcess(
            [
                self._daemon,
                "--no-defaults",
                f"--user={getpass.getuser()}",
                f"--datadir={self.data}",
                f"--socket={self.socket}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--pid-file={self._short / 'pid'}",
                f"--tmpdir={self._short}",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=32M",
                "--max-allowed-packet=64M",
            ],
            log,
        )
        deadline = time.monotonic() + START_LIMIT_S
        while self._run("SELECT 1").returncode:
            assert self.process.process.poll() is None, log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
            time.sleep(0.02)

    def sql(self, statements: str, database: str = "") -> list[str]:
        """What the server answers, line by line, columns with tabs between."""
        done = self._run(statements, database)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode().splitlines()

    def close(self) -> None:
        """End it. Idempotent."""
        self.process.close()
        for path in (*self._short.glob("*"), self._short):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)

    def _install(self) -> None:
        done = subprocess.run(
            [
                program("mariadb-install-db"),
                "--no-defaults",
                f"--user={getpass.getuser()}",
                f"--datadir={self.data}",
                f"--tmpdir={self._short}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _run(self, statements: str, database: str = "") -> subprocess.CompletedProcess[bytes]:
        command = [
            str(program("mariadb")), "--no-defaults", "--user=root", f"--socket={self.socket}", "--batch", "--raw",
            "--skip-column-names", "--default-character-set=utf8mb4", "--comments", f"--database={database}",
        ]  # fmt: skip
        return subprocess.run(command, input=statements.encode(), capture_output=True, check=False)
