"""`Server`: where a MariaDB or MySQL server is and how its tools sign in, and questions to it by the client."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from limpet.contracts.dump import require_program
from limpet.contracts.options import Options
from limpet.contracts.password import COMMAND, FILE, service_password
from limpet.contracts.service import ServiceAddress
from limpet.errors import UsageError

SCHEME = "mysql"
PARAMETERS = ("socket", "defaults_file", FILE, COMMAND)
"""What an address may say about the server."""
CHARACTER_SET = "utf8mb4"
LARGEST_PACKET = "1G"
"""The protocol's own limit: a large row fails only where the server itself refuses it."""
CONNECT_TIMEOUT_S = 30
SYSTEM_DATABASES = ("information_schema", "mysql", "performance_schema", "sys")
_PACKAGE = "mariadb-client or mysql-client"


@dataclass(frozen=True, slots=True)
class Server:
    """One server, as its tools are told of it."""

    shown: str
    """The address, for messages."""
    folder: str
    """Where its files are in a snapshot: `/mysql/localhost`."""
    arguments: Sequence[str]
    """What every tool of the server understands; the defaults file comes first, where the tools insist on it."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The password, where we know it: the tools' own variable never shows in a list of processes."""

    @classmethod
    def of(cls, address: ServiceAddress, options: Options) -> Server:
        """The server of the address; UsageError for a password that cannot be had or a file that is not there."""
        parameters = address.parameters
        defaults = parameters.get("defaults_file") or str(options.get("defaults_file") or "")
        arguments = []
        if defaults:
            if not os.access(defaults, os.R_OK):
                raise UsageError(f"{address}: the defaults_file {defaults} cannot be read")
            # Some tools look for it in the folder of the data.
            arguments.append(f"--defaults-extra-file={os.path.abspath(defaults)}")
        if socket := parameters.get("socket"):
            arguments += [f"--socket={os.path.abspath(socket)}", "--protocol=socket"]
        else:
            if address.host:
                arguments.append(f"--host={address.host}")
            if address.port is not None:
                # Without this `localhost` means the socket, whatever the port is.
                arguments += [f"--port={address.port}", "--protocol=tcp"]
        if address.user:
            arguments.append(f"--user={address.user}")
        password = service_password(SCHEME, options, parameters)
        environment = {} if password is None else {"MYSQL_PWD": password}
        return cls(str(address), address.folder, arguments, environment)

    def client(self, *arguments: str) -> list[str]:
        """The command line of the client, reading statements from its standard input; stops at the first error.

        MariaDB's would take the comments out of routines if it were not told to leave them.
        """
        return [
            client_program(), *self.arguments, "--batch", "--skip-column-names", "--raw", "--no-auto-rehash",
            "--comments", f"--default-character-set={CHARACTER_SET}",
            f"--connect-timeout={CONNECT_TIMEOUT_S}", f"--max-allowed-packet={LARGEST_PACKET}", *arguments,
        ]  # fmt: skip

    def ask(self, statement: str, failed: Callable[[str], Exception]) -> list[str]:
        """The lines of the answer; raises what `failed` makes of the reason."""
        command = self.client()
        try:
            done = subprocess.run(
                command,
                input=statement.encode("utf-8", "surrogateescape"),
                capture_output=True,
                env={**os.environ, **self.environment},
                start_new_session=True,  # A Ctrl-C is ours to handle.
                check=False,
            )
        except OSError as error:
            raise failed(f"{self.shown}: failed to start command {command[0]}: {error}") from error
        if done.returncode:
            said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
            raise failed(f"{self.shown}: {said[-1].strip() if said else f'exit status {done.returncode}'}")
        return done.stdout.decode("utf-8", "surrogateescape").splitlines()


def client_program() -> str:
    """MariaDB's client, or MySQL's where that one is not; UsageError where neither is."""
    return first_program("mariadb", "mysql")


def dump_program() -> str:
    """MariaDB's dump program, or MySQL's; UsageError where neither is there."""
    return first_program("mariadb-dump", "mysqldump")


def first_program(preferred: str, other: str, package: str = _PACKAGE) -> str:
    """The one that is there, by its name: what `ps` and messages show; UsageError where neither is."""
    if shutil.which(preferred) is None:
        require_program(other, package)
        return other
    return preferred


def is_mysqls_own(program: str) -> bool:
    """Whether the program is MySQL's, by what it says of its version; one of MariaDB may have either name."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return False
    return b"mariadb" not in done.stdout.lower()


def quoted(text: str) -> str:
    """A string literal, whatever the server's sql_mode."""
    return f"CONVERT(0x{text.encode('utf-8', 'surrogateescape').hex()} USING utf8mb4)" if text else "''"


def identifier(name: str) -> str:
    """The name in the quotes of names."""
    doubled = name.replace("`", "``")
    return f"`{doubled}`"
