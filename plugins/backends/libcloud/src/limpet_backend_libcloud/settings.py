"""The backend's options, and what they mean to the constructor of a driver of libcloud's."""

from __future__ import annotations

from collections.abc import Sequence

from limpet.contracts.options import Option, Options
from limpet.errors import UsageError

DEFAULT_CONNECTIONS = 5

OPTIONS: Sequence[Option] = (
    Option("connections", "how many requests run at once", type="integer", default=DEFAULT_CONNECTIONS),
    Option("key", "the access key, user or account", environment="LIBCLOUD_KEY"),
    Option("secret", "the secret key or password", environment="LIBCLOUD_SECRET", secret=True),
    Option("token", "a session token, for drivers that take one", environment="LIBCLOUD_TOKEN", secret=True),
    Option("region", "the region, for drivers that have several", environment="LIBCLOUD_REGION"),
    Option("host", "the server, instead of the provider's own", environment="LIBCLOUD_HOST"),
    Option("port", "the server's port", type="integer"),
    Option("secure", "false for plain HTTP", type="boolean", default=True),
    Option(
        "extra",
        "more arguments of the driver, as NAME=VALUE with commas between",
        environment="LIBCLOUD_EXTRA",
        secret=True,
    ),
)

_PASSED_ON = ("secret", "token", "region", "host", "port", "secure")


def read_connections(options: Options) -> int:
    """The number of connections; UsageError for less than one."""
    connections = options.get("connections")
    if connections is None:
        return DEFAULT_CONNECTIONS
    if not isinstance(connections, int) or connections < 1:
        raise UsageError(f"libcloud.connections must be a number from 1 on, not {connections!r}")
    return connections


def driver_arguments(options: Options) -> dict[str, object]:
    """What the driver is made with, by name; only what is set, for not every driver knows every argument."""
    arguments: dict[str, object] = {"key": options.get("key") or ""}
    for name in _PASSED_ON:
        value = options.get(name)
        if value is not None and value != "":
            arguments[name] = value
    for assignment in str(options.get("extra") or "").split(","):
        name, equals, text = assignment.partition("=")
        if assignment.strip():
            if not equals or not name.strip().isidentifier():
                raise UsageError("libcloud.extra: give it as NAME=VALUE,NAME=VALUE")
            arguments[name.strip()] = text.strip()
    return arguments


def secrets_among(arguments: dict[str, object]) -> tuple[str, ...]:
    """The values that must show up nowhere."""
    shown = {"key", "region", "host", "port", "secure"}
    return tuple(str(value) for name, value in arguments.items() if name not in shown and len(str(value)) > 3)
