"""A real wrapper, resticpy, drives Limpet in restic's place: what it calls, and how it reads the answers."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parity.programs import PASSWORD
from tests.parity.repositories import create


@pytest.fixture
def wrapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The wrapper's module, set up for an empty repository and for a `restic` that is Limpet."""
    try:
        module = importlib.import_module("restic")
    except ModuleNotFoundError:
        if os.environ.get("LIMPET_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip("resticpy is not installed")
    program = tmp_path / "restic"
    program.write_text(f"#!{sys.executable}\nfrom limpet.cli.main import run\nrun()\n")
    program.chmod(0o755)
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    monkeypatch.setattr(module, "binary_path", str(program))
    monkeypatch.setattr(module, "repository", str(create(tmp_path / "place").repository))
    monkeypatch.setattr(module, "password_file", str(password))
    monkeypatch.setattr(module, "use_cache", False)
    return module


def test_a_life_of_backups(wrapper: Any, tmp_path: Path) -> None:
    """Programs that were written for this wrapper would fail, or take an answer for another."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")
    assert wrapper.version()["restic_version"] == "0.19.1"
    first = wrapper.backup(paths=[str(source)], tags=["one"])
    assert (first["message_type"], first["files_new"]) == ("summary", 1)
    second = wrapper.backup(paths=[str(source)], tags=["two"])
    assert (second["files_new"], second["files_unmodified"]) == (0, 1)
    assert [one["id"] for one in wrapper.snapshots()] == [first["snapshot_id"], second["snapshot_id"]]
    assert wrapper.find("file")[0]["matches"][0]["path"] == str(source / "file")
    assert wrapper.stats(mode="raw-data")["snapshots_count"] == 2
    (group,) = wrapper.forget(prune=True, keep_last=1)
    assert [[one["id"] for one in group[key]] for key in ("keep", "remove")] == [
        [second["snapshot_id"]],
        [first["snapshot_id"]],
    ]
    wrapper.restore(snapshot_id="latest", include=str(source / "file"), target_dir=str(tmp_path / "target"))
    assert Path(f"{tmp_path}/target{source}/file").read_text() == "content"
    assert '"num_errors":0' in wrapper.check(read_data=True)
    assert wrapper.cat.config()["version"] == 2


def test_a_failure(wrapper: Any, tmp_path: Path) -> None:
    """A program would take a backup that failed for one that was made."""
    errors = importlib.import_module("restic.errors")
    with pytest.raises(
        errors.ResticFailedError, match=r"exit code 1: (?s:.*)all source directories/files do not exist"
    ):
        wrapper.backup(paths=[str(tmp_path / "nothing")])
