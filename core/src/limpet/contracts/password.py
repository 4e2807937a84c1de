"""The password of a service that a source talks to: out of a file, or out of what a command prints.

Never in an address or on a command line, which others can read. Where neither is given the service's own tool looks
in its own places: `PGPASSFILE`, `MYSQL_PWD`, `REDISCLI_AUTH`.
"""

from __future__ import annotations

from collections.abc import Mapping

from limpet.contracts.options import Option, Options
from limpet.contracts.secret import printed_secret
from limpet.errors import UsageError

FILE, COMMAND = "password_file", "password_command"


def password_options(scheme: str) -> tuple[Option, ...]:
    """The options of a source or destination that signs in with a password; see `service_password`."""
    variable = f"LIMPET_{scheme.upper()}_PASSWORD"
    return (
        Option(FILE, "file that holds the password of the server", environment=f"{variable}_FILE"),
        Option(COMMAND, "command that prints the password of the server", environment=f"{variable}_COMMAND"),
    )


def service_password(scheme: str, options: Options, parameters: Mapping[str, str] | None = None) -> str | None:
    """The password by file or by command, without the end of its line; None where neither is given.

    `parameters` are those of an address, where one for this server alone may be given by the options' names. UsageError
    where both ways are given, one of them fails, or there is no password in it; no message holds any of the password.
    """
    given = {name: str(value) for name, value in (parameters or {}).items() if name in {FILE, COMMAND}}
    given = given or {name: str(options[name]) for name in (FILE, COMMAND) if options.get(name)}
    if len(given) > 1:
        raise UsageError(f"{scheme}: {FILE} and {COMMAND} are both given, one is enough")
    if COMMAND in given:
        where, content = f"the output of {COMMAND}", printed_secret(f"{scheme}: {COMMAND}", given[COMMAND])
    elif FILE in given:
        where, content = f"the file {given[FILE]}", _read(scheme, given[FILE])
    else:
        return None
    password = content.removesuffix(b"\n").removesuffix(b"\r")
    if not password or b"\0" in password or b"\n" in password:
        reason = "is empty" if not password else "has more than one line" if b"\n" in password else "holds a zero byte"
        raise UsageError(f"{scheme}: no password of the server: {where} {reason}")
    return password.decode("utf-8", "surrogateescape")


def _read(scheme: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{scheme}: cannot read the {FILE} {path}: {reason}") from error
