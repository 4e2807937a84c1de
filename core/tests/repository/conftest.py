"""Fixtures of the tests of locks: a repository on each of two storages, and one in a folder that processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.repository.repository import Repository
from limpet.storage.memory import MemoryBackend
from limpet_backend_local import LocalBackend

from core.tests.repository.locking import CHEAP, PASSWORD, Setup


@pytest.fixture(params=["memory", "local"])
def setup(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setup]:
    """On each of the two storages."""
    store = MemoryBackend() if request.param == "memory" else LocalBackend.open(str(tmp_path / "repository"), {})
    made = Setup(store)
    yield made
    made.recording.heal()
    made.repository.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository in a folder."""
    path = tmp_path / "repository"
    Repository.create(LocalBackend.open(str(path), {}), PASSWORD, kdf=CHEAP).close()
    return path
