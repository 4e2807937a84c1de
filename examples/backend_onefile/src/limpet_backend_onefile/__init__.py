"""A whole repository in one SQLite file: `onefile:/srv/backup.sqlite`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Self

from limpet.contracts.backend import Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.ids import is_hex_id

MAX_SIZE = 2**31 - 1
"""SQLite has no larger value."""


class OneFileBackend(Backend):
    """Files as rows of one table. Every call has a connection of its own, so threads never share one."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("wait", "how long to wait for another writer", type="duration", default=60.0),
    )
    properties = BackendProperties(connections=2, atomic_replace=True)

    def __init__(self, path: str, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The store in the file `location`, which need not be there yet."""
        if not location:
            raise UsageError("onefile: needs the path of a file, as in onefile:/srv/backup.sqlite")
        wait_s = options.get("wait", 60.0)
        return cls(os.path.abspath(location), float(wait_s) if isinstance(wait_s, int | float) else 60.0)

    @property
    def location(self) -> str:
        return f"onefile:{self._path}"

    def create(self) -> None:
        with self._database(creating=True) as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS files"
                " (kind TEXT, name TEXT, content BLOB NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID"
            )

    def save(self, handle: Handle, content: Content) -> None:
        _check(handle)
        with self._database() as database:
            database.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (handle.kind.value, handle.name, content.data)
            )

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        # Size and bytes in one look: another thread may replace the file between two.
        count = length_bytes if length_bytes is not None else MAX_SIZE
        size_bytes, data = self._one("length(content), substr(content, ?, ?)", handle, offset_bytes + 1, count)
        if offset_bytes + (length_bytes or 0) > size_bytes:
            raise BackendError(f"{handle} has only {size_bytes} bytes", permanent=True)
        return data or b""

    def stat(self, handle: Handle) -> FileInfo:
        size_bytes, _ = self._one("length(content), NULL", handle)
        return FileInfo(handle.name, size_bytes)

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        with self._database() as database:
            rows = database.execute("SELECT name, length(content) FROM files WHERE kind = ?", (kind.value,)).fetchall()
        return (FileInfo(name, size_bytes) for name, size_bytes in rows if is_hex_id(name))

    def remove(self, handle: Handle) -> None:
        _check(handle)
        with self._database() as database:
            removed = database.execute(
                "DELETE FROM files WHERE kind = ? AND name = ?", (handle.kind.value, handle.name)
            ).rowcount
        if not removed:
            raise MissingFileError(f"{handle} is not in {self._path}")

    def delete(self) -> None:
        with self._database() as database:
            database.execute("DROP TABLE files")

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _one(self, expression: str, handle: Handle, *arguments: int) -> tuple[int, bytes | None]:
        _check(handle)
        with self._database() as database:
            row: tuple[int, bytes | None] | None = database.execute(
                f"SELECT {expression} FROM files WHERE kind = ? AND name = ?",
                (*arguments, handle.kind.value, handle.name),
            ).fetchone()
        if row is None:
            raise MissingFileError(f"{handle} is not in {self._path}")
        return row

    @contextmanager
    def _database(self, *, creating: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction: committed at the end, rolled back by any error."""
        if not creating and not os.path.exists(self._path):
            raise MissingFileError(f"there is no repository in {self._path}")
        try:
            database = sqlite3.connect(self._path, timeout=self._wait_s)
            try:
                with database:
                    yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise BackendError(f"{self._path}: {error}", permanent=not _is_busy(error)) from error


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _check(handle: Handle) -> None:
    """Names that the format does not know are refused, whatever they would do here."""
    if handle.kind is FileKind.CONFIG:
        if handle.name:
            raise BackendError("the config has no name", permanent=True)
    elif not is_hex_id(handle.name):
        raise BackendError(f"not the name of a file: {handle.name!r}", permanent=True)
