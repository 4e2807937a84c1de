"""`Server`: where a Redis server is and how one signs in, for its own client program and for the client library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limpet.contracts.options import Options
from limpet.contracts.password import COMMAND, FILE, service_password
from limpet.contracts.service import ServiceAddress
from limpet.errors import LimpetError, UsageError

if TYPE_CHECKING:
    import redis

SCHEME = "redis"
PASSWORD_VARIABLE = "REDISCLI_AUTH"
"""Read by redis-cli itself; a password in it shows in no list of processes."""
_TLS_FILES = ("cacert", "cert", "key")
PARAMETERS = ("socket", "tls", *_TLS_FILES, FILE, COMMAND)
"""What an address may say about the server."""
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 6379
CONNECT_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 600.0
"""A large value takes its time, a server that is gone does not come back."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server."""

    shown: str
    """The address, for messages."""
    folder: str
    """Where its file is in a snapshot: `/redis/localhost`."""
    arguments: Sequence[str]
    """For redis-cli."""
    connection: Mapping[str, Any] = field(repr=False)
    """For the library."""
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, address: ServiceAddress, options: Options) -> Server:
        """The server of the address; UsageError for what makes no sense, or a password that cannot be had."""
        if address.path:
            raise UsageError(
                f"{address}: a dump of Redis is one of all its databases: leave out the name {address.path!r}"
            )
        parameters = address.parameters
        password = service_password(SCHEME, options, parameters) or os.environ.get(PASSWORD_VARIABLE) or None
        if address.user and password is None:
            raise UsageError(f"{address}: the user {address.user} has no password: give it by {FILE}, or {COMMAND}")
        if socket := parameters.get("socket"):
            arguments = ["-s", os.path.abspath(socket)]
            connection: dict[str, Any] = {"unix_socket_path": os.path.abspath(socket)}
        else:
            host, port = address.host or DEFAULT_HOST, address.port or DEFAULT_PORT
            arguments = ["-h", host, "-p", str(port)]
            connection = {"host": host, "port": port}
        if address.user:
            arguments += ["--user", address.user]
        tls_arguments, tls_connection = _tls(address)
        environment = {} if password is None else {PASSWORD_VARIABLE: password}
        connection |= {"username": address.user, "password": password, **tls_connection}
        return cls(str(address), address.folder, [*arguments, *tls_arguments], connection, environment)


def connect(connection: Mapping[str, Any], database: int = 0) -> redis.Redis:
    """A client for one database of the server; connects with the first command, tries nothing twice."""
    import redis  # noqa: PLC0415  # a tenth of a second, which only the runs with Redis pay
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return redis.Redis(
        db=database,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # A server that wants a password says so plainly only there.
        **connection,
    )


@contextmanager
def told_as(kind: Callable[[str], LimpetError], what: str) -> Iterator[None]:
    """Errors of the library inside it as one of ours, made of the message, with `what` they are about before them."""
    import redis  # noqa: PLC0415

    try:
        yield
    except (redis.RedisError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise kind(f"{what}: {reason}") from error


def _tls(address: ServiceAddress) -> tuple[list[str], dict[str, Any]]:
    parameters = address.parameters
    word = parameters.get("tls", "true" if any(name in parameters for name in _TLS_FILES) else "false")
    if word not in {"true", "false"}:
        raise UsageError(f"{address}: tls={word} is neither true nor false")
    if word == "false":
        return [], {}
    if "socket" in parameters:
        raise UsageError(f"{address}: there is no TLS on a socket of this machine")
    arguments = ["--tls"]
    for name in _TLS_FILES:
        if name in parameters:
            if not os.access(parameters[name], os.R_OK):
                raise UsageError(f"{address}: the {name} {parameters[name]} cannot be read")
            arguments += [f"--{name}", os.path.abspath(parameters[name])]
    connection = {
        "ssl": True,
        "ssl_ca_certs": parameters.get("cacert"),
        "ssl_certfile": parameters.get("cert"),
        "ssl_keyfile": parameters.get("key"),
    }
    return arguments, connection
