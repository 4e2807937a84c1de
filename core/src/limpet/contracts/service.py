"""`ServiceAddress`: which server, user and thing an argument such as `postgres://app@localhost/shop` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from limpet.errors import UsageError

LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Parts of an address. What is not said is empty, or None."""

    scheme: str
    user: str | None
    host: str
    port: int | None
    path: str
    """Without the slash before it."""
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, scheme: str, rest: str) -> Self:
        """The address that `scheme:rest` is, `rest` being `//[USER@][HOST][:PORT][/PATH][?NAME=VALUE&...]`.

        UsageError for another form, and for a password: command lines are read by others.
        """
        try:
            parts = urlsplit(f"{scheme}:{rest}")
            port = parts.port
        except ValueError as error:
            raise UsageError(_not_an_address(scheme)) from error
        if parts.password is not None:
            raise UsageError(
                f"{scheme}: the address holds a password, which every user of this machine could read; "
                f"give it in the environment or a file (see `limpet plugin info {scheme}`)"
            )
        if not rest.startswith("//") or parts.fragment:
            raise UsageError(_not_an_address(scheme))
        user = None if parts.username is None else unquote(parts.username)
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        return cls(scheme, user, unquote(parts.hostname or ""), port, unquote(parts.path[1:]), parameters)

    @property
    def folder(self) -> str:
        """Where what it delivers is in a snapshot: `/postgres/localhost`, `/postgres/db1:5433`; no user, no name."""
        port = "" if self.port is None else f":{self.port}"
        return f"/{self.scheme}/{(self.host or LOCALHOST).replace('/', '_')}{port}"

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{user}{self.host}{port}/{self.path}"

    def refuse_unknown_parameters(self, *known: str) -> None:
        """UsageError for a parameter that nobody reads."""
        for name in self.parameters:
            if name not in known:
                possible = ", ".join(known) or "none"
                raise UsageError(f"{self}: the parameter {name!r} is not known (possible: {possible})")


def _not_an_address(scheme: str) -> str:
    # Not repeated: what was misread may be a password.
    return f"{scheme}: the address is not of the form {scheme}://[USER@]HOST[:PORT]/NAME"
