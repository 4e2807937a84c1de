"""`Directory`: which databases of which configuration of slapd an address such as `ldap:///dc=example,dc=org` means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from limpet.contracts.service import LOCALHOST, ServiceAddress
from limpet.errors import UsageError

SCHEME = "ldap"
PACKAGE = "slapd"
CONFIG_DATABASE = 0
CONFIG_FILE = "config.ldif"
SUFFIX = ".ldif"


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of this machine: all of it, the database that holds `base`, or that of a `number`."""

    config: str | None
    """slapd's configuration, a folder (`slapd.d`) or a file (`slapd.conf`); None for where the tools look."""
    base: str
    number: int | None

    @classmethod
    def parse(cls, rest: str) -> Self:
        """What `ldap:rest` means: `///[BASE][?config=PATH][&database=N]`; UsageError for what cannot be."""
        address = ServiceAddress.parse(SCHEME, rest)
        address.refuse_unknown_parameters("config", "database")
        if address.host not in {"", LOCALHOST} or address.port is not None or address.user is not None:
            raise UsageError(
                f"{address}: a directory is read on the machine where its slapd runs, by slapcat: write ldap:///BASE"
            )
        config = address.parameters.get("config")
        if config is not None and not os.path.exists(config):
            raise UsageError(f"{address}: there is no configuration {config}")
        return cls(config and os.path.abspath(config), address.path, _number(address))

    @property
    def shown(self) -> str:
        """For messages."""
        parameters = [f"config={self.config}"] if self.config else []
        parameters += [f"database={self.number}"] if self.number is not None else []
        return f"ldap:///{self.base}" + ("?" + "&".join(parameters) if parameters else "")

    @property
    def is_all(self) -> bool:
        """Whether all databases are meant."""
        return not self.base and self.number is None

    @property
    def has_folder(self) -> bool:
        """Whether the configuration is a folder: a file has no database of its own."""
        return self.config is None or os.path.isdir(self.config)

    @property
    def configuration(self) -> Sequence[str]:
        """How one of OpenLDAP's tools is told of the configuration."""
        if self.config is None:
            return []
        return ["-F" if self.has_folder else "-f", self.config]

    @property
    def database(self) -> Sequence[str]:
        """How it is told of the database; nothing where all are meant."""
        return ["-b", self.base] if self.base else [] if self.number is None else ["-n", str(self.number)]


def file_path(name: str) -> str:
    """Of the file in the snapshot that a database becomes: `/ldap/localhost/dc=example,dc=org.ldif`."""
    return f"/{SCHEME}/{LOCALHOST}/{name.replace('/', '_')}{SUFFIX}"


def numbered(number: int) -> str:
    """What the file of a database is called that was asked for by its number."""
    return CONFIG_FILE.removesuffix(SUFFIX) if number == CONFIG_DATABASE else f"database-{number}"


def _number(address: ServiceAddress) -> int | None:
    text = address.parameters.get("database")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{address}: database={text} is no number; 0 is that of the configuration")
    if address.path:
        raise UsageError(f"{address}: the base and the number of a database are both given, one is enough")
    return int(text)
