"""`Cluster`: the member of an etcd cluster that an address names, and how etcdctl is told of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from limpet.contracts.options import Options
from limpet.contracts.password import COMMAND, FILE, service_password
from limpet.contracts.service import LOCALHOST, ServiceAddress
from limpet.errors import UsageError

SCHEME = "etcd"
PORT = 2379
TLS_FILES = ("cacert", "cert", "key")
TLS = "tls"
SNAPSHOT = "snapshot.db"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One member, which knows all that the cluster does."""

    shown: str
    """For messages."""
    path: str
    """Of its file in the snapshot: `/etcd/HOST[:PORT]/snapshot.db`."""
    environment: Mapping[str, str] = field(repr=False)
    """For etcdctl, which takes every flag from there too: where a password belongs."""

    @classmethod
    def parse(cls, rest: str, options: Options) -> Self:
        """What `etcd:rest` names, `//[USER@]HOST[:PORT]`; UsageError for what cannot be, or a missing file."""
        address = ServiceAddress.parse(SCHEME, rest)
        address.refuse_unknown_parameters(TLS, *TLS_FILES, FILE, COMMAND)
        if address.path:
            raise UsageError(f"{address}: a snapshot holds the whole cluster: leave out {address.path!r}")
        files = {name: _file(address, name, options) for name in TLS_FILES}
        is_tls = bool(options.get(TLS)) or address.parameters.get(TLS) == "true" or any(files.values())
        host = f"[{address.host}]" if ":" in address.host else address.host or LOCALHOST
        variables = {
            "API": "3",
            "ENDPOINTS": f"{'https' if is_tls else 'http'}://{host}:{address.port or PORT}",
            "USER": address.user,
            "PASSWORD": service_password(SCHEME, options, address.parameters),
            **{name.upper(): path for name, path in files.items()},
        }
        environment = {f"ETCDCTL_{name}": value for name, value in variables.items() if value is not None}
        return cls(str(address).rstrip("/"), f"{address.folder}/{SNAPSHOT}", environment)


def _file(address: ServiceAddress, name: str, options: Options) -> str | None:
    value = address.parameters.get(name) or options.get(name)
    if value is None:
        return None
    path = os.path.abspath(str(value))
    if not os.path.isfile(path):
        raise UsageError(f"{address}: {name}: there is no file {path}")
    return path
