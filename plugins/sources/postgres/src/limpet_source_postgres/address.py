"""`Wanted`: what one argument asks for: which server, which of its databases, in which form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from limpet.contracts.options import Option, OptionValue
from limpet.contracts.password import COMMAND, FILE, password_options, service_password
from limpet.contracts.service import ServiceAddress
from limpet.errors import UsageError

from limpet_source_postgres.formats import Format, Method
from limpet_source_postgres.server import LIBPQ_PARAMETERS, Server

SCHEME = "postgres"
OPTIONS = (
    Option("format", "`plain` (SQL text) or `custom` (an archive of pg_restore)", default=Format.PLAIN.value),
    Option("method", "`dump` (each database by itself) or `basebackup` (all files of the cluster, a tar archive)",
           default=Method.DUMP.value),
    *password_options(SCHEME),
    Option("owners", "with owners and grants; `false` for a server that has other roles", "boolean", default=True),
    Option("role_passwords", "passwords of the roles too, which only a superuser can read", "boolean", default=True),
    Option("lock_timeout", "how long a dump waits for a locked table; without end by default", "duration"),
    Option("restrict_key", "letters and digits by which psql knows the end of a plain dump (see the README)"),
    Option("into_existing", "restore into a database that is not empty", "boolean", default=False),
)  # fmt: skip

_Kind = TypeVar("_Kind", bound=Enum)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One argument, understood."""

    server: Server
    database: str | None
    """None for all of them."""
    format: Format
    method: Method

    def __str__(self) -> str:
        return self.server.shown


def wanted(rest: str, options: Mapping[str, OptionValue]) -> Wanted:
    """What `postgres:rest` asks for; UsageError if it makes no sense. Asks no server."""
    address = ServiceAddress.parse(SCHEME, rest)
    address.refuse_unknown_parameters("format", "method", "host", FILE, COMMAND, *LIBPQ_PARAMETERS)
    for text in (address.path, address.user or "", address.host, *address.parameters.values()):
        if "\0" in text:
            raise UsageError(f"{SCHEME}: an address cannot hold a zero byte")
    named = {**options, **address.parameters}
    method = _one_of(Method, "method", named)
    if method is Method.BASE_BACKUP and address.path:
        raise UsageError(f"{address}: a base backup is of the whole cluster, leave out the database's name")
    return Wanted(
        Server.at(address, service_password(SCHEME, options, address.parameters)),
        address.path or None,
        _one_of(Format, "format", named),
        method,
    )


def _one_of(kinds: type[_Kind], name: str, options: Mapping[str, OptionValue]) -> _Kind:
    given = options.get(name) or next(option.default for option in OPTIONS if option.name == name)
    for kind in kinds:
        if kind.value == given:
            return kind
    possible = ", ".join(str(kind.value) for kind in kinds)
    raise UsageError(f"{SCHEME}.{name}: {given!r} is none of: {possible}")
