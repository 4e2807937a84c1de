"""The one-file backend keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, Handle
from limpet.testing.backend import BackendConformance
from limpet_backend_onefile import OneFileBackend


class TestOneFileBackend(BackendConformance):
    """All that Limpet asks of a backend."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """Where the repository is."""
        return tmp_path / "repository.sqlite"

    @pytest.fixture
    def backend(self, path: Path) -> Iterator[Backend]:
        """A created, empty store."""
        backend = OneFileBackend.open(str(path), {})
        backend.create()
        self.path_in_use = path
        yield backend
        backend.close()

    def open_again(self, backend: Backend) -> Backend:
        """A second instance on the same file."""
        return OneFileBackend.open(str(self.path_in_use), {})

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        """The row, read by hand."""
        database = sqlite3.connect(self.path_in_use)
        row = database.execute(
            "SELECT content FROM files WHERE kind = ? AND name = ?", (handle.kind.value, handle.name)
        ).fetchone()
        database.close()
        return None if row is None else bytes(row[0])

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        """The row, written by hand."""
        database = sqlite3.connect(self.path_in_use)
        with database:
            database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (handle.kind.value, handle.name, data))
        database.close()
