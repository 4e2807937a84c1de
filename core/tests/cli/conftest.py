"""Fixtures for tests of the command line: commands in this process, and repositories whose keys cost no time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from limpet import registry
from limpet.cli.main import main
from limpet.format.kdf import KdfParameters, new_salt
from limpet.repository.repository import Repository

PASSWORD = "geheim-5f3a"
CHEAP = KdfParameters(16, 1, 1, new_salt())


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it wrote to standard output, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of whoever runs the tests, and a cache of our own."""
    for name in list(os.environ):
        if name.startswith(("LIMPET_", "RESTIC_")) and not name.startswith(("LIMPET_RESTIC", "LIMPET_REQUIRE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LIMPET_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def repository_path(tmp_path: Path) -> Path:
    """An empty repository whose password is PASSWORD."""
    path = tmp_path / "repository"
    Repository.create(registry.open_backend(str(path)), PASSWORD, kdf=CHEAP).close()
    return path


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line in this process; its standard input is empty."""
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115  # open as long as the test

    def run_command(*arguments: str | Path) -> Ended:
        capfdbinary.readouterr()
        exit_code = main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return Ended(exit_code, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape"))

    return run_command
