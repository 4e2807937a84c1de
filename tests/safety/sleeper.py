"""A backup by the library whose lock goes by a clock that a test can turn on; the arguments are those of `main`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from limpet.contracts.source import SourceRequest
from limpet.errors import LimpetError
from limpet.operations.backup import BackupOptions, backup
from limpet.registry import open_backend
from limpet.repository.locks import RepositoryLock
from limpet.repository.repository import Repository, RepositorySettings
from limpet_source_command import CommandSource
from limpet_source_files import FilesSource

MIB = 1024 * 1024


def main(location: str, password: str, clock: str, source: str, command: str) -> int:
    """The exit code of the backup; its error is printed as the command line would."""
    settings = RepositorySettings(pack_size_bytes=4 * MIB)
    with Repository.open(open_backend(location, {}), password, settings=settings) as repository:
        try:
            with RepositoryLock(repository, exclusive=False, now_ns=turned(Path(clock))):
                options = BackupOptions(hostname="sleeper", time_ns=time.time_ns())
                sources = [
                    FilesSource.open(SourceRequest([source])),
                    CommandSource.open(SourceRequest([command.removeprefix("command:")])),
                ]
                backup(repository, sources, options)
        except LimpetError as error:
            print(f"Fatal: {error}", file=sys.stderr)
            return error.exit_code
    return 0


def turned(file: Path) -> Callable[[], int]:
    """A clock that goes ahead by the seconds in the file."""
    return lambda: time.time_ns() + int(file.read_text() or 0) * 1_000_000_000


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
