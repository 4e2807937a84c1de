"""Ways for a command to end that are no error of the library: an exit code with its own words."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell shows for a program that wrote to a closed pipe."""


class CommandExit(Exception):  # noqa: N818  # as SystemExit: not every end is an error
    """Ends the command with this exit code; the message is shown as it stands, without `Fatal:`."""

    def __init__(self, exit_code: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
