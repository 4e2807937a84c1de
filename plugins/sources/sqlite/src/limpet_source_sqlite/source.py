"""`SqliteSource`: databases of SQLite, each a file of the snapshot that is a whole database as of one moment."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource
from limpet.contracts.made_dump import PrivateFolder, module_command
from limpet.contracts.options import Option, Options
from limpet.contracts.source import MadeStat, SourceRequest, Target
from limpet.errors import UsageError

from limpet_source_sqlite.choices import BACKUP, CHECKS, FULL, METHODS, WAIT_S
from limpet_source_sqlite.destination import SqliteDestination
from limpet_source_sqlite.place import LOG, database_path


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, seen to be possible."""

    arguments: Sequence[str]
    """How the copier is told: method, check, seconds to wait."""
    folder: str | None
    """For the copies; None for the usual one."""

    @classmethod
    def parse(cls, options: Options) -> Self:
        """UsageError for a value that is not known, and a folder that is not there."""
        method, check = str(options.get("method") or BACKUP), str(options.get("check") or FULL)
        for name, value, possible in (("method", method, METHODS), ("check", check, CHECKS)):
            if value not in possible:
                raise UsageError(f"sqlite.{name} is {value!r}, possible are: {', '.join(possible)}")
        wait_s = options.get("wait")
        folder = options.get("tmpdir")
        return cls((method, check, str(WAIT_S if wait_s is None else wait_s)), None if folder is None else str(folder))


class SqliteSource(DumpSource):
    """Databases that may be written to all the while. Of each a checked copy is stored as `/sqlite/ITS/PATH`."""

    contract_version: ClassVar[int] = 1
    reads_frozen: ClassVar[bool] = True
    destination: ClassVar[type[Destination] | None] = SqliteDestination
    options: ClassVar[Sequence[Option]] = (
        Option("method", "how a database is copied: `backup`, page by page, or `vacuum`, compacted", default=BACKUP),
        Option("check", "integrity check of a copy: `full`, `quick` or `none`", default=FULL),
        Option("wait", "how long to wait for a writer that has locked the database", type="duration", default=WAIT_S),
        Option("tmpdir", "folder for the copies that are made, with room for them (default: that of TMPDIR)"),
        Option("overwrite", "restore over a database that is there", type="boolean", default=False),
    )

    def __init__(self, request: SourceRequest, paths: Sequence[str], settings: Settings) -> None:
        self._folder = PrivateFolder(settings.folder)
        self._databases = []
        dumps = []
        for target, path in zip(request.targets, paths, strict=True):
            frozen = request.read_from.get(target)
            self._databases.append(frozen or path)
            arguments = (frozen or path, *settings.arguments, "frozen" if frozen else "", self._folder.path)
            command = module_command("limpet_source_sqlite.copier", *arguments)
            dumps.append(Dump(f"/sqlite{path}", command, what=f"sqlite:{path}"))
        super().__init__(request, dumps)

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for what is no path, or an option's value that is not known. Nothing is copied."""
        if not request.targets:
            raise UsageError("sqlite: no database was named: write sqlite:/PATH")
        paths = [database_path(target) for target in request.targets]
        if len(set(paths)) < len(paths):
            raise UsageError("sqlite: a database is named twice: " + ", ".join(paths))
        return cls(request, paths, Settings.parse(request.options))

    def targets(self) -> Sequence[Target]:
        """One file for each database, with the mode, owner and time of the database itself."""
        made = super().targets()
        for target, path in zip(made, self._databases, strict=True):
            with suppress(OSError):  # That it is not there is said when it is read.
                target.entry.stat = _status(path)
        return made

    def scan(self) -> tuple[int, int]:
        """The files, and their bytes before anything was copied."""
        return len(self._databases), sum(os.path.getsize(path) for path in self._databases if os.path.isfile(path))

    def close(self) -> None:
        """End whatever still runs, and remove the copies."""
        super().close()
        self._folder.close()


def _status(path: str) -> MadeStat:
    """That of the database; changed when it or its log was, so that an unchanged one gives the same snapshot."""
    found = os.stat(path)
    made = MadeStat(stat.S_IFREG | stat.S_IMODE(found.st_mode), found.st_mtime_ns, 0, found.st_uid, found.st_gid)
    with suppress(FileNotFoundError):
        made = replace(made, st_mtime_ns=max(found.st_mtime_ns, os.stat(os.path.realpath(path) + LOG).st_mtime_ns))
    return made
