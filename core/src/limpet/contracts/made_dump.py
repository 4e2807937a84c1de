"""Dumps of tools that write a file and no stream: a command of ours makes the file, prints it, and leaves nothing.

The source names that command by `module_command`; in the command itself `print_made_file` does the work. It is a
process of its own so that it can be ended in the middle of a call that lasts, and so that the locks that its tool
takes on files are not lost when this process closes the same files: a process has one set of them for all its threads.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack

from limpet.errors import UsageError


class PrivateFolder:
    """A new folder for temporary files that nobody else can enter, at `path`; `close` removes it with all in it."""

    def __init__(self, below: str | None = None) -> None:
        """Made in the folder `below`, else where `$TMPDIR` says; UsageError where it cannot be made."""
        try:
            self.path = tempfile.mkdtemp(prefix="limpet-", dir=below)
        except OSError as error:
            place = below or tempfile.gettempdir()
            raise UsageError(f"cannot make a folder for temporary files in {place}: {error.strerror}") from error

    def close(self) -> None:
        """Remove it; what uses it has to be ended before. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours by this interpreter. What lies in the current folder is not imported."""
    return [sys.executable, "-P", "-m", module, *arguments]


def print_made_file(make: Callable[[str], None], folder: str) -> None:
    """Have `make` write the file whose path it is given, in a new folder below `folder`, and print it.

    The file has no name any more once it is printed: it is gone however this process ends. What is there before is
    removed after an error; a process that is killed leaves it to the source, whose `PrivateFolder` `folder` is.
    """
    with ExitStack() as stack:
        with tempfile.TemporaryDirectory(dir=folder) as private:
            path = os.path.join(private, "copy")
            make(path)
            made = stack.enter_context(open(path, "rb"))
        shutil.copyfileobj(made, sys.stdout.buffer, 1 << 20)
        sys.stdout.buffer.flush()
