"""Where the password comes from: command, file, environment, a hook, standard input or a prompt."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence

from limpet.cli.environment import environment
from limpet.cli.options import GlobalOptions
from limpet.cli.terminal import Terminal
from limpet.cli.text_file import read_text_file
from limpet.errors import UsageError

EMPTY_PASSWORD = (
    "an empty password is not allowed by default. Pass the flag `--insecure-no-password` to restic "
    "to disable this check"
)
NO_PASSWORD_CONFLICT = (
    "--insecure-no-password must not be specified together with providing a password via a cli option "
    "or environment variable"
)


def given_password(options: GlobalOptions, variable: str = "PASSWORD") -> str | None:
    """The password by command, file or environment variable, in restic's order; None where none is given.

    UsageError where two ways are given or one of them fails. No message holds any of the password.
    """
    if options.password_file and options.password_command:
        raise UsageError("Resolving password failed: Password file and command are mutually exclusive options")
    if options.password_command:
        return _run_password_command(options.password_command) or None
    if options.password_file:
        return read_text_file(options.password_file) or None
    return environment(variable)


def wanted_password(
    options: GlobalOptions,
    given: str | None,
    ask: Callable[[], str],
) -> str:
    """The password to open or create a repository with: the given one, the empty one if allowed, else asked for."""
    if options.insecure_no_password:
        if given:
            raise UsageError(NO_PASSWORD_CONFLICT)
        return ""
    return given or ask()


def ask_password(terminal: Terminal, prompt: str) -> str:
    """One password from the terminal without echo, or one line of standard input where it is none."""
    if terminal.input_is_terminal:
        import getpass  # noqa: PLC0415  # only where somebody is asked

        try:
            password = getpass.getpass(prompt)
        except EOFError as error:
            raise UsageError("unable to read password: end of input") from error
    else:
        if terminal.output_is_terminal:
            terminal.print("reading repository password from stdin")
        line: bytes = sys.stdin.buffer.readline()
        password = line.rstrip(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
    if not password:
        raise UsageError(EMPTY_PASSWORD)
    return password


def ask_new_password(terminal: Terminal, prompt: str, again: str = "enter password again: ") -> str:
    """A new password, asked for twice on a terminal; UsageError if the two differ."""
    password = ask_password(terminal, prompt)
    if terminal.input_is_terminal and ask_password(terminal, again) != password:
        raise UsageError("passwords do not match")
    return password


def read_new_password_file(path: str) -> str:
    """The content of --new-password-file; UsageError if it is empty."""
    password = read_text_file(path)
    if not password:
        raise UsageError(
            "an empty password is not allowed by default. Pass the flag `--new-insecure-no-password` "
            "to disable this check"
        )
    return password


def _run_password_command(text: str) -> str:
    """What the command prints, without surrounding white space."""
    arguments = _split(text)
    try:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise UsageError(f"Resolving password failed: {arguments[0]}: {error.strerror}") from error
    if done.returncode:
        raise UsageError(f"Resolving password failed: {arguments[0]}: exit status {done.returncode}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def _split(text: str) -> Sequence[str]:
    """The words of a command line, quoted as in a POSIX shell; no shell runs it."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"Resolving password failed: {error} in --password-command") from error
    if not words:
        raise UsageError("Resolving password failed: command string is empty")
    return words
