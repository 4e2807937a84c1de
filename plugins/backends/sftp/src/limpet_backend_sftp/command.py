"""The command that reaches the server: ssh as restic calls it, or the user's own."""

from __future__ import annotations

import os
import shlex

from limpet.errors import UsageError

from limpet_backend_sftp.location import ServerPath

_OWN_VARIABLES = ("RESTIC_", "LIMPET_")


def ssh_command(server: ServerPath, arguments: str | None, command: str | None) -> list[str]:
    """The program and its arguments; UsageError where `sftp.args` and `sftp.command` make no sense."""
    if command:
        if arguments:
            raise UsageError("cannot specify both sftp.command and sftp.args options")
        words = split_words("sftp.command", command)
        if not words:
            raise UsageError("sftp.command names no program")
        return words
    port = [] if server.port is None else ["-p", str(server.port)]
    user = ["-l", server.user] if server.user else []
    return ["ssh", server.host, *port, *user, *split_words("sftp.args", arguments or ""), "-s", "sftp"]


def split_words(option: str, text: str) -> list[str]:
    """The words of an option's value, quoted as in a shell; UsageError naming the option."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{option} is not quoted as in a shell: {str(error).lower()}") from error


def ssh_environment() -> dict[str, str]:
    """Our environment without our own settings: the repository's password is no business of ssh's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
