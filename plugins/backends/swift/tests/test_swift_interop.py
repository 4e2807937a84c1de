"""One repository in Swift, two programs: each checks, restores and continues what the other has backed up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.services.swift_server import SwiftServer

pytestmark = pytest.mark.interop

PASSWORD = "interop"
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A Swift for the tests of this file."""
    with SwiftServer(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture
def signed_in(server: SwiftServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both programs find the server and the password in their environment."""
    monkeypatch.setenv("ST_AUTH", server.auth_url)
    monkeypatch.setenv("ST_USER", server.user)
    monkeypatch.setenv("ST_KEY", server.key)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with an empty file, a small and a large one."""
    root = tmp_path / "tree"
    (root / "inner").mkdir(parents=True)
    (root / "empty").touch()
    (root / "inner/small").write_bytes(b"hello")
    (root / "inner/large").write_bytes(os.urandom(7_000_000))
    return root


def limpet(place: str, *arguments: str | Path) -> str:
    """What the command prints; AssertionError with its output if it failed."""
    done = subprocess.run(
        [*LIMPET, "--no-cache", "-r", place, *map(str, arguments)],
        env={**os.environ, "LIMPET_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same_files(one: Path, other: Path) -> bool:
    """Whether both folders hold the same files with the same bytes."""

    def files(root: Path) -> dict[Path, bytes]:
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    return files(one) == files(other) != {}


@pytest.mark.usefixtures("signed_in")
def test_limpet_begins(restic_any: Restic, tree: Path, tmp_path: Path) -> None:
    """Nobody is locked in: restic reads and continues what Limpet began, in restic's own layout."""
    place = f"swift:begun-by-limpet:/for/restic-{restic_any.version()}"
    limpet(place, "init")
    limpet(place, "backup", tree)
    restic_any.run("check", "--read-data", repo=place, password=PASSWORD)
    (tree / "inner/more").write_bytes(os.urandom(300_000))
    restic_any.run("backup", tree, repo=place, password=PASSWORD)
    limpet(place, "check", "--read-data")
    limpet(place, "restore", "latest", "--target", tmp_path / "by-limpet")
    assert same_files(tmp_path / "by-limpet" / tree.relative_to("/"), tree)
    limpet(place, "forget", "--keep-last", "1", "--prune")
    restic_any.run("check", "--read-data", repo=place, password=PASSWORD)
    restic_any.run("restore", "latest", "--target", tmp_path / "by-restic", repo=place, password=PASSWORD)
    assert same_files(tmp_path / "by-restic" / tree.relative_to("/"), tree)


@pytest.mark.usefixtures("signed_in")
def test_restic_begins(restic_new: Restic, tree: Path, tmp_path: Path) -> None:
    """Who comes from restic keeps the repository that is there."""
    place = "swift:begun-by-restic:/"
    restic_new.run("init", repo=place, password=PASSWORD)
    restic_new.run("backup", tree, repo=place, password=PASSWORD)
    limpet(place, "check", "--read-data")
    (tree / "inner/more").write_bytes(os.urandom(300_000))
    limpet(place, "-o", "swift.connections=2", "backup", tree)
    restic_new.run("check", "--read-data", repo=place, password=PASSWORD)
    restic_new.run("restore", "latest", "--target", tmp_path / "by-restic", repo=place, password=PASSWORD)
    assert same_files(tmp_path / "by-restic" / tree.relative_to("/"), tree)
