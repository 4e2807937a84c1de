"""`Server`: which MongoDB server an address names, and how MongoDB's tools are told of it and of the password."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, urlencode

from limpet.contracts.dump import require_program
from limpet.contracts.options import Options
from limpet.contracts.password import COMMAND, FILE, service_password
from limpet.contracts.service import LOCALHOST, ServiceAddress
from limpet.errors import UsageError

SCHEME = "mongodb"
PACKAGE = "MongoDB Database Tools, mongodb-database-tools"
_SRV = "srv"
_DRIVER = (
    "appName", "authMechanism", "authSource", "compressors", "directConnection", "maxStalenessSeconds",
    "readConcernLevel", "readPreference", "replicaSet", "retryReads", "retryWrites", "ssl", "tls",
    "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsCAFile", "tlsCertificateKeyFile", "tlsInsecure", "w",
)  # fmt: skip
"""Parameters of MongoDB's own connection strings that hold no secrets. No time limits: mongodump 100.7.5 waits for ever
for a server that is down if it is given `serverSelectionTimeoutMS`, and half a minute if not."""
_WITHOUT_PASSWORD = {"MONGODB-X509", "GSSAPI", "MONGODB-OIDC", "MONGODB-AWS"}


@dataclass(frozen=True, slots=True)
class Server:
    """One server or replica set."""

    uri: str
    """As the tools take it, without a password and without a database."""
    database: str
    """Empty for all."""
    folder: str
    """In the snapshot."""
    shown: str
    """For messages."""
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, rest: str, options: Options) -> Self:
        """What `mongodb:rest` names, `//[USER@]HOST[:PORT][/DATABASE]`; UsageError for what cannot be."""
        address = ServiceAddress.parse(SCHEME, rest)
        address.refuse_unknown_parameters(*_DRIVER, _SRV, FILE, COMMAND)
        if "/" in address.path:
            raise UsageError(f"{address}: one database is named, or none for all: {address.path!r} is none")
        password = service_password(SCHEME, options, address.parameters)
        mechanism = address.parameters.get("authMechanism", "")
        if address.user is not None and password is None and mechanism not in _WITHOUT_PASSWORD:
            # The tool would ask for it, and take the next best thing on its standard input for the answer.
            raise UsageError(
                f"{address}: no password of the user: give it by -o {SCHEME}.{FILE}=FILE"
                f" or -o {SCHEME}.{COMMAND}=COMMAND"
            )
        return cls(_uri(address), address.path, address.folder, str(address), password)

    def config(self, folder: str, name: str) -> Sequence[str]:
        """The flag that gives the tool the password, in a new file of this folder; nothing where there is none."""
        if self.password is None:
            return []
        path = os.path.join(folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"password: {json.dumps(self.password)}\n")  # A string of JSON is one of YAML.
        return [f"--config={path}"]


def tool(name: str) -> str:
    """The path of one of MongoDB's tools; UsageError where it is not to be found."""
    return require_program(name, PACKAGE)


def _uri(address: ServiceAddress) -> str:
    parameters = {name: value for name, value in address.parameters.items() if name in _DRIVER}
    is_srv = address.parameters.get(_SRV) == "true"
    user = "" if address.user is None else f"{quote(address.user, safe='')}@"
    host = f"[{address.host}]" if ":" in address.host else address.host or LOCALHOST
    port = "" if address.port is None else f":{address.port}"
    query = f"?{urlencode(parameters)}" if parameters else ""
    return f"mongodb{'+srv' if is_srv else ''}://{user}{host}{port}/{query}"
