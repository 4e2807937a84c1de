"""The command lines of the dumping tools. No password is ever on one."""

from __future__ import annotations

import functools
import hashlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from limpet.contracts.options import OptionValue
from limpet.errors import UsageError

from limpet_source_postgres.creation import SCRIPT
from limpet_source_postgres.formats import Format
from limpet_source_postgres.server import Server

PG_DUMP, PG_DUMPALL, PG_BASEBACKUP, PSQL, PG_RESTORE = "pg_dump", "pg_dumpall", "pg_basebackup", "psql", "pg_restore"
PACKAGE = "postgresql-client in Debian"
PSQL_SCRIPT = (PSQL, "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse")
"""psql that ends at the first error, without the user's own start-up file."""
_MACHINE_ID = Path("/etc/machine-id")
_KEY = re.compile(r"[A-Za-z0-9]+")


class DumpCommands:
    """Command lines for one server, as the options want them."""

    def __init__(self, server: Server, options: Mapping[str, OptionValue]) -> None:
        self._server = server
        self._options = options

    def database(self, name: str, dump_format: Format) -> Sequence[str]:
        """One database, uncompressed: what is compressed cannot be deduplicated."""
        argv = [PG_DUMP, "-w", f"--format={dump_format.value}"]
        argv += self._restricted() if dump_format is Format.PLAIN else ["--compress=0"]
        if self._options.get("owners") is False:
            argv += ["--no-owner", "--no-privileges"]
        return [*argv, *self._patience(), "-d", self._server.connection(name)]

    def globals(self, maintenance_database: str) -> Sequence[str]:
        """Roles, tablespaces, and what was granted to roles."""
        argv = [PG_DUMPALL, "-w", "--globals-only", *self._restricted(), *self._patience()]
        if self._options.get("role_passwords") is False:
            argv.append("--no-role-passwords")
        return [*argv, "-d", self._server.connection(maintenance_database)]

    def creation(self, maintenance_database: str) -> Sequence[str]:
        """The SQL that creates the databases."""
        return [*PSQL_SCRIPT, "-A", "-t", "-d", self._server.connection(maintenance_database), "-c", SCRIPT]

    def base_backup(self) -> Sequence[str]:
        """All files of the cluster as a tar archive, with the WAL that makes them consistent."""
        argv = [PG_BASEBACKUP, "-w", "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"]
        return [*argv, "-d", self._server.connection(None)]

    def _patience(self) -> Sequence[str]:
        limit_s = self._options.get("lock_timeout")
        return [] if limit_s is None else [f"--lock-wait-timeout={int(float(limit_s) * 1000)}"]

    def _restricted(self) -> Sequence[str]:
        if not knows_restrict_key():
            return []
        return [f"--restrict-key={restrict_key(self._options.get('restrict_key'), self._server.folder)}"]


@functools.cache
def knows_restrict_key() -> bool:
    """Whether pg_dump writes `\\restrict KEY` and takes the key from us: since the minor releases of August 2025.

    Without one of ours it is another in every dump, which then never is the same as the one before.
    """
    done = subprocess.run([PG_DUMP, "--help"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return b"--restrict-key" in done.stdout


def restrict_key(given: OptionValue, folder: str) -> str:
    """The key that keeps commands of psql out of a plain dump's data, the same in every dump of this machine.

    Who has power over the dumped server must not know it beforehand (CVE-2025-8714), so it comes out of the machine's
    id. UsageError for a given one that pg_dump would refuse.
    """
    if given is not None:
        if not _KEY.fullmatch(str(given)):
            raise UsageError("postgres.restrict_key: only letters and digits (A-Z, a-z, 0-9) can be in it")
        return str(given)
    try:
        machine = _MACHINE_ID.read_bytes().strip()
    except OSError:
        machine = b""
    return hashlib.sha256(
        b"limpet postgres restrict " + machine + folder.encode("utf-8", "surrogateescape")
    ).hexdigest()
