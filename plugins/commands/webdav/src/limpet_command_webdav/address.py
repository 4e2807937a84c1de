"""Where to listen: HOST:PORT, and whether anybody but this machine can reach it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from limpet.errors import UsageError

_FORM = re.compile(r"(?:\[(?P<literal>[^\[\]]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d+)")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A host's name or number, and a port; 0 stands for any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address; UsageError for another form."""
    match = _FORM.fullmatch(text)
    if match is None or int(match["port"]) > _LAST_PORT:
        raise UsageError(
            f"--listen {text}: not of the form HOST:PORT, such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080"
        )
    return Address(match["literal"] or match["host"], int(match["port"]))


def is_loopback(host: str) -> bool:
    """Whether the host's name or number stands for this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
