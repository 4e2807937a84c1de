"""Options that hold a secret: given in the environment, in a file, or by a command that prints it.

On a command line others can read it. No message holds any of it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence

from limpet.contracts.options import Option, Options
from limpet.errors import UsageError

TIME_LIMIT_S = 120.0
"""For the command: longer than anybody needs to unlock a store, shorter than the night."""
_SECRET_NAME = re.compile(
    r"PASSW|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|APIKEY|CONNECTION_STRING|_(?:KEY|PASS|PWD|AUTH|SAS)(?:_|$)",
    re.IGNORECASE,
)


def looks_secret(variable: str) -> bool:
    """Whether a variable of the environment holds a secret, by its name: RESTIC_PASSWORD, MYSQL_PWD, B2_ACCOUNT_KEY."""
    return _SECRET_NAME.search(variable) is not None


def secret_options(plugin: str, name: str, meaning: str) -> tuple[Option, Option, Option]:
    """The options `name`, `name_file` and `name_command` of the plugin, each with its variable; see `given_secret`."""
    variable = f"LIMPET_{plugin}_{name}".upper().replace("-", "_")
    return (
        Option(
            name, f"{meaning}; better in the variable or a file, for it is secret", environment=variable, secret=True
        ),
        Option(f"{name}_file", f"file with {meaning}", environment=f"{variable}_FILE"),
        Option(f"{name}_command", f"command that prints {meaning}", environment=f"{variable}_COMMAND"),
    )


def given_secret(plugin: str, name: str, options: Options) -> str | None:
    """The secret, without white space around it; None where it is given in none of the three ways.

    UsageError where it is given in two ways, cannot be had, or is empty.
    """
    ways = [way for way in (name, f"{name}_file", f"{name}_command") if options.get(way)]
    if not ways:
        return None
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(f'{plugin}.{way}' for way in ways)} are given, one is enough")
    way, value = ways[0], str(options[ways[0]])
    if way.endswith("_command"):
        value = _decoded(printed_secret(f"{plugin}.{way}", value), plugin, way)
    elif way.endswith("_file"):
        value = _decoded(_content(f"{plugin}.{way}", value), plugin, way)
    if not value.strip():
        raise UsageError(f"{plugin}.{way}: there is nothing in it")
    return value.strip()


def _content(option: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: cannot read {path}: {reason}") from error


def command_words(option: str, line: str) -> Sequence[str]:
    """The words of a command line, quoted as in a shell; UsageError naming the option where it is none."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{option} is not a command line: {error}") from error
    if not words:
        raise UsageError(f"{option} is empty")
    return words


def printed_secret(option: str, line: str) -> bytes:
    """What the command line prints; UsageError naming the option where it fails or takes longer than the limit."""
    words = command_words(option, line)
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{option}: {words[0]} took longer than {TIME_LIMIT_S:g} s and was ended") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{option}: cannot run {words[0]}: {reason}") from error
    if done.returncode:
        raise UsageError(f"{option}: {words[0]} ended with exit status {done.returncode}")
    return done.stdout


def _decoded(content: bytes, plugin: str, way: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{plugin}.{way}: it is no text in UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{plugin}.{way}: it holds a zero byte")
    return text
