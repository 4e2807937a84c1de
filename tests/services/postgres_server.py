"""A PostgreSQL server of Debian's package, on a unix socket and a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.services.process import START_LIMIT_S, ServerProcess, free_port, program

_DEBIAN = Path("/usr/lib/postgresql")
_SUPERUSER = "postgres"
_FAST_SHUTDOWN = signal.SIGINT
_QUICK = ("-c", "fsync=off", "-c", "dynamic_shared_memory_type=mmap", "-c", "max_wal_senders=4")
"""Nothing of it has to outlive a crash of the machine."""


class PostgresServer:
    """A running server. Everybody may connect as anybody, except users of `passwords`, who need theirs over TCP."""

    def __init__(self, passwords: Mapping[str, str] | None = None, data: Path | None = None) -> None:
        """`data` is an unpacked base backup to start with; it is moved."""
        # The server refuses to run as root, and may not look into the folders of root's tests.
        self._user = pwd.getpwnam(_SUPERUSER) if os.geteuid() == 0 and _has_user() else None
        self.folder = Path(tempfile.mkdtemp(prefix="limpet-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self._process: ServerProcess | None = None
        try:
            if data is None:
                self._own(self.folder)
                subprocess.run(
                    self._as_user(server_program("initdb"), "-D", self.data, *_INITDB),
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                self._require_passwords(passwords or {})
            else:
                shutil.move(data, self.data)
                self.data.chmod(0o700)
                for path in [self.folder, self.data, *self.data.rglob("*")]:
                    self._own(path)
            self.start()
            for user, password in (passwords or {}).items():
                quoted = password.replace("'", "''")
                self.sql(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{quoted}'")
        except BaseException:
            self.close()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What leads the tools to its socket, as its superuser."""
        return {"PGHOST": str(self.folder), "PGPORT": str(self.port), "PGUSER": _SUPERUSER}

    def address(self, database: str = "", *, user: str = _SUPERUSER, query: str = "") -> str:
        """Over TCP."""
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}{query}"

    @property
    def snapshot_folder(self) -> str:
        """Where what comes over TCP is in a snapshot."""
        return f"/postgres/127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = self._as_user(
            server_program("postgres"), "-D", self.data, "-k", self.folder, "-p", self.port, *_QUICK
        )
        deadline = time.monotonic() + START_LIMIT_S
        self._process = ServerProcess([str(part) for part in command], self.folder / "log").wait_for_port(self.port)
        while self.psql("SELECT 1", check=False).returncode:
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def sql(self, statements: str, database: str = "postgres") -> str:
        """What psql prints for them, unaligned; AssertionError if one fails."""
        return self.psql(statements, database).stdout

    def psql(
        self, statements: str, database: str = "postgres", *, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """The finished psql, which read the statements from its standard input."""
        quoted = database.replace("\\", "\\\\").replace("'", "\\'")
        done = subprocess.run(
            [program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", f"dbname='{quoted}'"],
            input=statements,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **self.environment},
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Meanwhile nobody can read the table: a dump waits there."""
        holder = subprocess.Popen(
            [program("psql"), "-Xq", "-c", f"BEGIN; LOCK {table}; SELECT pg_sleep(3600)", "postgres"],
            env={**os.environ, **self.environment, "PGAPPNAME": "holder"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # It says that it was ended.
        )
        try:
            self._wait_until("SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'")
            yield
        finally:
            self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'")
            holder.wait()

    def is_waited_for(self) -> bool:
        """Whether somebody waits for a lock."""
        return self.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0\n"

    def kill(self) -> None:
        """End it, and all its processes at once, as a crash of the machine does."""
        assert self._process is not None
        pid = self._process.process.pid
        # Every process of it leads a session of its own, and those that serve a client would go on for a while.
        for process in [pid, *_children(pid)]:
            os.kill(process, signal.SIGKILL)
        self._process.process.wait()
        self._remove_shared_memory()

    def close(self) -> None:
        """End it, and remove all that it wrote. Idempotent."""
        if self._process is not None and self._process.process.poll() is None:
            os.kill(self._process.process.pid, _FAST_SHUTDOWN)
            try:
                self._process.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._process is not None:
            self._process.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until(self, question: str) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while self.sql(question) == "0\n":
            assert time.monotonic() < deadline, question
            time.sleep(0.02)

    def _require_passwords(self, passwords: Mapping[str, str]) -> None:
        kinds = ("all", "replication")
        rules = [f"host {kind} {user} 127.0.0.1/32 scram-sha-256\n" for user in passwords for kind in kinds]
        path = self.data / "pg_hba.conf"
        path.write_text("".join(rules) + path.read_text())

    def _as_user(self, *command: object) -> Sequence[str | Path]:
        words = [str(word) for word in command]
        if self._user is None:
            return words
        user = f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"
        # The change of the user makes the system forget that the server is to end with the test run.
        return [program("setpriv"), *user, "--pdeathsig=KILL", *words]

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def _remove_shared_memory(self) -> None:
        """The segment that keeps a second server from the data outlives a killed one."""
        lines = (self.data / "postmaster.pid").read_text().splitlines()
        _key, number = lines[6].split()
        subprocess.run([program("ipcrm"), "-m", number], check=False)


_INITDB = ("-A", "trust", "-U", _SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync")


def _has_user() -> bool:
    try:
        pwd.getpwnam(_SUPERUSER)
    except KeyError:
        return False
    return True


def server_program(name: str) -> Path:
    """A program of the newest version that is installed; Debian puts only the clients' into PATH."""
    versions = sorted(_DEBIAN.glob("*"), key=lambda path: int(path.name) if path.name.isdecimal() else 0, reverse=True)
    return program(name, *(path / "bin" for path in versions))


def _children(pid: int) -> Sequence[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
