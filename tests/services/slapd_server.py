"""A real OpenLDAP server on loopback, all that it has below one folder: its configuration as a folder and as a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.services.process import ServerProcess, free_port, program

SCHEMAS = Path("/etc/ldap/schema")
MODULES = Path("/usr/lib/ldap")
SUFFIX = "dc=example,dc=org"
OTHER_SUFFIX = "o=Other / Größe"
ADMIN, PASSWORD = f"cn=admin,{SUFFIX}", "not to be seen"

_CONFIGURATION = """include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
modulepath {modules}
moduleload back_mdb
pidfile {folder}/pid

database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw "{password}"
directory {folder}/data
maxsize 1073741824

database mdb
suffix "{other}"
rootdn "{admin}"
directory {folder}/other
maxsize 1073741824

database monitor
"""


class SlapdConfiguration:
    """The configuration of a server with two databases, both empty: `file` and `config`, the folder made of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("data", "other", "slapd.d"):
            (folder / name).mkdir(parents=True)
        self.file = folder / "slapd.conf"
        self.file.write_text(
            _CONFIGURATION.format(
                schemas=SCHEMAS,
                modules=MODULES,
                folder=folder,
                suffix=SUFFIX,
                other=OTHER_SUFFIX,
                admin=ADMIN,
                password=PASSWORD,
            )
        )
        self.config = folder / "slapd.d"
        _run(program("slapcat"), "-f", self.file, "-F", self.config, "-n", "0")  # makes the one of the other

    def dump(self, suffix: str = SUFFIX) -> str:
        """What slapcat says that is in a database."""
        return _run(program("slapcat"), "-f", self.file, "-b", suffix, "-o", "ldif-wrap=no")


class SlapdServer(ServerProcess):
    """The server of a configuration; `add` and `modify` take LDIF."""

    def __init__(self, folder: Path) -> None:
        slapd = program("slapd")
        self.configuration = SlapdConfiguration(folder)
        self.url = f"ldap://127.0.0.1:{(port := free_port())}"
        super().__init__(
            # In the foreground, that is what -d does; it says nothing more.
            [slapd, "-d", "0", "-F", self.configuration.config, "-h", self.url],
            folder / "slapd.log",
        )
        self.wait_for_port(port)

    def add(self, ldif: str) -> None:
        """New entries."""
        self._client("ldapadd", ldif)

    def modify(self, ldif: str) -> None:
        """Changes of entries."""
        self._client("ldapmodify", ldif)

    def _client(self, name: str, ldif: str) -> None:
        password = self.configuration.folder / "password"
        password.write_text(PASSWORD)
        _run(program(name), "-x", "-H", self.url, "-D", ADMIN, "-y", password, given=ldif)


def _run(*command: str | Path, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
