"""`limpet serve verify`, as a person runs it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from limpet.cli.session import Session
from limpet.errors import IntegrityError, UsageError
from limpet_command_serve.verify_command import verify_command


def test_damage_is_named_and_ends_with_an_error(tmp_path: Path) -> None:
    """A monitor looks at the exit code, a person at the name of the file."""
    name = hashlib.sha256(b"good").hexdigest()
    path = tmp_path / "web1" / "index" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"good")
    runner, words = CliRunner(), ["--path", str(tmp_path), "--report", str(tmp_path / "report")]
    assert "1 files, 4 B" in runner.invoke(verify_command, words, obj=Session()).output
    path.write_bytes(b"bad")
    done = runner.invoke(verify_command, words, obj=Session())
    assert isinstance(done.exception, IntegrityError)
    assert f"index/{name} of repository web1 is damaged" in done.output
    report = json.loads((tmp_path / "report").read_text())
    assert [damage["id"] for damage in report["damaged"].values()] == [name]


def test_a_wrong_directory_is_no_clean_one(tmp_path: Path) -> None:
    """A typing error must not look like a repository without damage."""
    with pytest.raises(UsageError, match="no data directory"):
        CliRunner().invoke(verify_command, ["--path", str(tmp_path / "x")], obj=Session(), catch_exceptions=False)
