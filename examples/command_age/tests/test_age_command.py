"""The age command on a real repository. Install the package first: commands are found by their entry point."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.command import CommandConformance
from limpet_command_age import AgeCommand


class TestAgeCommand(CommandConformance):
    """All that Limpet asks of a command."""

    command_class = AgeCommand
    command_name = "age"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, named by the environment."""
    monkeypatch.setenv("LIMPET_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.setenv("LIMPET_PASSWORD", "secret")
    monkeypatch.setenv("LIMPET_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["init"]) == 0
    return tmp_path


def test_no_snapshot(repository: Path) -> None:
    """A repository nobody ever backed up to is the oldest of all."""
    assert main(["age"]) == 1


def test_age(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A backup that stopped running a month ago is found out by its age alone."""
    assert main(["backup", __file__]) == 0
    capfd.readouterr()
    assert main(["age", "--max", "1h", "--json"]) == 0
    assert 0 <= json.loads(capfd.readouterr().out)["age_seconds"] < 600
    assert main(["backup", "--time", "2020-01-01 00:00:00", "--force", __file__]) == 0
    assert main(["age", "--max", "1h"]) == 0
