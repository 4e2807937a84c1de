"""Both sources keep the contract that every source keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.testing.source import SourceConformance
from limpet_source_command import CommandSource, StdinSource


class TestOneCommand(SourceConformance):
    """The words of one command."""

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        """A command with more output than one read takes."""
        source = CommandSource.open(SourceRequest(["head", "-c", "200000", "/dev/zero"], {"filename": "a/zeros"}))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """A command that fails."""
        return SourceRequest(["sh", "-c", "echo half; exit 1"])


class TestSeveralCommands(SourceConformance):
    """Command lines with the names of their files."""

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        """Two of them."""
        source = CommandSource.open(SourceRequest(["b=echo b", "a/a=echo a"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """Nothing to run."""
        return SourceRequest(["b=echo b", "a="])


class TestStdin(SourceConformance):
    """Standard input, which really is a file here."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        """The process's own descriptor 0, for the time of the test."""
        path = tmp_path / "input"
        path.write_bytes(b"x" * 200_000)
        kept, given = os.dup(0), os.open(path, os.O_RDONLY)
        os.dup2(given, 0)
        os.close(given)
        source = StdinSource.open(SourceRequest([]))
        yield source
        source.close()
        os.dup2(kept, 0)
        os.close(kept)

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """Standard input has no targets."""
        return SourceRequest(["folder"])
