"""The second repository of `init` and `copy`: named by flags, by variables, and as restic before 0.14 named it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from limpet import registry
from limpet.format.kdf import KdfParameters, new_salt
from limpet.repository.repository import Repository

if TYPE_CHECKING:
    from .conftest import Run

CHEAP = KdfParameters(16, 1, 1, new_salt())
FIRST, SECOND = "first-secret", "second-secret"


@pytest.fixture
def pair(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A repository with one snapshot and an empty one, each with a password of its own."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path, password in ((first, FIRST), (second, SECOND)):
        Repository.create(registry.open_backend(str(path)), password, kdf=CHEAP).close()
    file = tmp_path / "file"
    file.write_text("content")
    monkeypatch.setenv("LIMPET_PASSWORD", FIRST)
    assert run("-r", first, "backup", file).exit_code == 0
    return first, second


def count(path: Path) -> int:
    """How many snapshots are stored there."""
    return len(list((path / "snapshots").iterdir()))


def test_from_variables(pair: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nightly `copy` is set up by variables alone."""
    first, second = pair
    monkeypatch.setenv("RESTIC_FROM_REPOSITORY", str(first))
    monkeypatch.setenv("RESTIC_FROM_PASSWORD", FIRST)
    monkeypatch.setenv("LIMPET_PASSWORD", SECOND)
    ended = run("-r", second, "copy")
    assert (ended.exit_code, count(second)) == (0, 1), ended.err


@pytest.mark.parametrize("by_variable", [False, True])
def test_repo2_is_the_target(
    pair: tuple[Path, Path], run: Run, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    """Scripts from before restic 0.14 would copy the wrong way, over the better repository of the two."""
    first, second = pair
    monkeypatch.setenv("RESTIC_PASSWORD2", SECOND)
    if by_variable:
        monkeypatch.setenv("RESTIC_REPOSITORY2", str(second))
    ended = run("-r", first, "copy", *([] if by_variable else ["--repo2", second]))
    assert (ended.exit_code, count(first), count(second)) == (0, 1, 1), ended.err
    assert "Flag --repo2 has been deprecated, use --repo or --from-repo instead" in ended.err


def test_both_ways_at_once(pair: tuple[Path, Path], run: Run) -> None:
    """Which of the two is the target would be a guess."""
    first, second = pair
    ended = run("-r", first, "copy", "--repo2", second, "--from-repo", second)
    assert (ended.exit_code, "mutually exclusive" in ended.err) == (1, True)
    ended = run("-r", first, "copy", "--repo2", second, "--repository-file2", "x")
    assert "Options --repo2 and --repository-file2 are mutually exclusive" in ended.err
