"""`SqliteDestination`: a database out of a snapshot becomes a file again, checked before it takes its name."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing, suppress
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile
from limpet.contracts.made_dump import module_command
from limpet.errors import DestinationError, UsageError

from limpet_source_sqlite.choices import FULL
from limpet_source_sqlite.place import JOURNAL, LOG, SHARED_MEMORY, database_path, uri

LEFTOVERS = (LOG, JOURNAL, SHARED_MEMORY)


class SqliteDestination(Destination):
    """A file that is not there yet, or with `sqlite.overwrite` one that no program has open."""

    def __init__(self, path: str, *, check: str, overwrite: bool) -> None:
        self._path = path
        self._check = check
        self._overwrite = overwrite
        self._made: str | None = None

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError where something is at the place that is not to be overwritten."""
        path = os.path.realpath(database_path(request.place))
        overwrite = bool(request.options.get("overwrite"))
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            raise UsageError(f"sqlite:{path}: there is no folder {folder}")
        if os.path.isdir(path):
            raise UsageError(f"sqlite:{path}: this is a folder, name the file")
        for place in request.own_places:
            if os.path.commonpath([path, os.path.realpath(place)]) == os.path.realpath(place):
                raise UsageError(f"sqlite:{path}: this is inside {place}, which this very run uses: name another place")
        if not overwrite:
            _refuse_what_is_there(path)
        return cls(path, check=str(request.options.get("check") or FULL), overwrite=overwrite)

    def receive(self, file: StoredFile) -> None:
        """Write the file beside its place and check it."""
        try:
            self._write(file)
        except OSError as error:
            raise DestinationError(f"sqlite:{self._path}: cannot write it: {error.strerror or error}") from error
        assert self._made is not None
        # In a process of its own: the check of a large database can be interrupted then.
        command = module_command("limpet_source_sqlite.integrity", self._made, self._check)
        checked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if checked.returncode:
            said = (checked.stderr.strip().splitlines() or [f"exit status {checked.returncode}"])[-1]
            raise DestinationError(f"sqlite:{self._path}: {file.path} of the snapshot is no sound database: {said}")

    def finish(self) -> None:
        """Put it in its place. What an old database left there can no longer be taken for a part of the new one."""
        assert self._made is not None
        if not self._overwrite:
            _refuse_what_is_there(self._path)
        try:
            if os.path.lexists(self._path):
                self._settle_old()
            for suffix in LEFTOVERS:
                with suppress(FileNotFoundError):
                    os.remove(self._path + suffix)
            os.replace(self._made, self._path)
            self._made = None
            _sync_folder(os.path.dirname(self._path))
        except OSError as error:
            raise DestinationError(f"sqlite:{self._path}: cannot put it there: {error.strerror or error}") from error

    def close(self) -> None:
        """Remove what did not become the database."""
        if self._made is not None:
            with suppress(FileNotFoundError):
                os.remove(self._made)
            self._made = None

    def _write(self, file: StoredFile) -> None:
        folder, name = os.path.split(self._path)
        descriptor, self._made = tempfile.mkstemp(prefix=f".{name}.", suffix=".limpet", dir=folder)
        with os.fdopen(descriptor, "wb") as output:
            for piece in file.pieces():
                if piece.data is None:
                    output.seek(piece.size_bytes, os.SEEK_CUR)
                else:
                    output.write(piece.data)
            output.truncate()
            output.flush()
            os.fsync(output.fileno())

    def _settle_old(self) -> None:
        """Write the old database's log into it, if it is one; DestinationError where a program has it open.

        The new one gets its mode and owner.
        """
        assert self._made is not None
        try:
            with closing(sqlite3.connect(uri(self._path, "mode=rw"), uri=True, timeout=0)) as old:
                old.execute("PRAGMA locking_mode = EXCLUSIVE")
                old.execute("PRAGMA journal_mode = DELETE")
                old.execute("BEGIN EXCLUSIVE")
                old.rollback()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise DestinationError(
                    f"sqlite:{self._path}: a program has the database open, end it before it is overwritten"
                ) from error
            # Damaged: the very reason to restore it.
        found = os.stat(self._path)
        shutil.copymode(self._path, self._made)
        with suppress(PermissionError):
            os.chown(self._made, found.st_uid, found.st_gid)


def _refuse_what_is_there(path: str) -> None:
    for suffix in ("", *LEFTOVERS):
        if os.path.lexists(path + suffix):
            why = f", which SQLite would take for a part of {path}" if suffix else ""
            raise UsageError(
                f"sqlite:{path}: there already is {path}{suffix}{why}; name another place, "
                "or overwrite it with -o sqlite.overwrite=true"
            )


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # Not every file system can.
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
