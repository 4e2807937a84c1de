"""`Server`: where a PostgreSQL server is and how its tools sign in, and questions to it by psql."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from limpet.contracts.service import ServiceAddress
from limpet.errors import SourceError

CONNECT_TIMEOUT_S = 30
MAINTENANCE_DATABASES = ("postgres", "template1")
"""Where to ask what concerns no single database; hardly any server has neither."""
LIBPQ_PARAMETERS = (
    "application_name", "channel_binding", "connect_timeout", "gssencmode", "hostaddr", "krbsrvname", "options",
    "passfile", "require_auth", "service", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert",
    "target_session_attrs",
)  # fmt: skip
"""Parameters of an address that libpq understands, and that hold no secret."""
# A connection that was lost without a word is given up after two minutes, not after two hours.
_KEEPALIVE = {"keepalives_idle": "60", "keepalives_interval": "10", "keepalives_count": "6"}


@dataclass(frozen=True, slots=True)
class Server:
    """One server, as its tools are told of it."""

    shown: str
    """The address, for messages."""
    folder: str
    """Where its files are in a snapshot: `/postgres/localhost`."""
    parameters: Mapping[str, str]
    """libpq's, without database and password."""
    password: str | None = field(default=None, repr=False)

    @classmethod
    def at(cls, address: ServiceAddress, password: str | None) -> Server:
        """The server of an address. What the address does not say comes from `PGHOST`, `PGPORT`, as for every tool."""
        host = address.parameters.get("host") or address.host or os.environ.get("PGHOST", "")
        port = address.port or _port(os.environ.get("PGPORT"))
        parameters = {name: value for name, value in address.parameters.items() if name in LIBPQ_PARAMETERS}
        if host:
            # Debian's wrapper of the tools would put the port of a local cluster in.
            parameters |= {"host": host, "port": str(port or 5432)}
        elif port:
            parameters["port"] = str(port)
        if address.user is not None:
            parameters["user"] = address.user
        named = ServiceAddress("postgres", None, host, port, "", {})
        return cls(str(address), named.folder, parameters, password)

    def connection(self, database: str | None, **more: str) -> str:
        """libpq's connection string: a name with `=` in it would otherwise be taken for one."""
        settings = {**self.parameters, **_KEEPALIVE, **more}
        if database is not None:
            settings["dbname"] = database
        return " ".join(f"{name}='{_escaped(value)}'" for name, value in settings.items())

    def environment(self) -> dict[str, str]:
        """What the tools get on top of ours: the password, English, an end to waiting for a server that is silent."""
        added = {"LC_ALL": "C"}
        if self.password is not None:
            added["PGPASSWORD"] = self.password
        if "PGCONNECT_TIMEOUT" not in os.environ:
            added["PGCONNECT_TIMEOUT"] = str(CONNECT_TIMEOUT_S)
        return added

    def ask(self, psql: str, database: str | None, question: str, **more: str) -> list[str]:
        """The first column of the answer; SourceError with what psql says if there is none."""
        argv = [psql, "-X", "-q", "-A", "-t", "-0", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"]
        argv += ["-d", self.connection(database, **more), "-c", question]
        environment = {**os.environ, "PGCLIENTENCODING": "UTF8", **self.environment()}
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=environment, check=False)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.shown}: cannot run {psql}: {error}") from error
        if done.returncode:
            raise SourceError(f"{self.shown}: {_reason(done.stderr)}")
        *values, _end = done.stdout.split(b"\0")
        return [os.fsdecode(value) for value in values]

    def maintenance_database(self, psql: str) -> str:
        """A database that is there; SourceError with the reason why there is none to connect to."""
        first, second = MAINTENANCE_DATABASES
        try:
            self.ask(psql, first, "SELECT 1")
        except SourceError as error:
            try:
                self.ask(psql, second, "SELECT 1")
            except SourceError:
                raise error from None
            return second
        return first


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _port(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _reason(said: bytes) -> str:
    lines = [line.strip() for line in os.fsdecode(said).splitlines() if line.strip()]
    reason = lines[0].removeprefix("psql: ").removeprefix("error: ") if lines else "psql failed without a word"
    if "no password supplied" in reason:
        reason += "; give one by PGPASSWORD, PGPASSFILE or `-o postgres.password_file=FILE`"
    return reason
