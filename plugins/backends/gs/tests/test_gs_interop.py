"""One bucket on fake-gcs-server for restic's own gs backend and for ours, each with the same variables and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.services.gcs_server import GcsServer

PASSWORD = "interop"

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """The emulator."""
    with GcsServer(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture
def location(gcs: GcsServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of its own, which is there: restic as Debian builds it does not see that it would have to make one."""
    bucket = request.node.name.replace("_", "-")
    gcs.make_bucket(bucket)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    variables = {
        "STORAGE_EMULATOR_HOST": f"127.0.0.1:{gcs.port}",
        "GOOGLE_ACCESS_TOKEN": "a-token",
        "GOOGLE_PROJECT_ID": "limpet",
        "LIMPET_PASSWORD": PASSWORD,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return f"gs:{bucket}:/a/repository"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "small").write_bytes(b"a small file")
    (folder / "large").write_bytes(bytes(range(256)) * 20_000)
    return folder


def limpet(location: str, *arguments: str | Path) -> int:
    """The exit code of Limpet with this command."""
    return main(["--no-cache", "-r", location, *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_restic_goes_on_with_ours(restic_new: Restic, location: str, folder: Path, tmp_path: Path) -> None:
    """What Limpet put into Google's storage must be readable without Limpet, and be written to."""
    assert limpet(location, "init") == 0
    assert limpet(location, "backup", folder) == 0
    checked = restic_new.run("check", "--read-data", repo=location, password=PASSWORD)
    assert b"no errors were found" in checked.stdout
    (folder / "new").write_bytes(b"new")
    restic_new.run("backup", folder, repo=location, password=PASSWORD)
    assert limpet(location, "check", "--read-data") == 0
    assert limpet(location, "restore", f"latest:{folder}", "--target", tmp_path / "restored") == 0
    assert contents(tmp_path / "restored") == contents(folder)


def test_we_go_on_with_restics(restic_new: Restic, location: str, folder: Path, tmp_path: Path) -> None:
    """A repository that restic has made in Google's storage is taken over as it is."""
    restic_new.run("init", repo=location, password=PASSWORD)
    restic_new.run("backup", folder, repo=location, password=PASSWORD)
    (folder / "new").write_bytes(b"new")
    assert limpet(location, "backup", folder) == 0
    assert limpet(location, "forget", "--keep-last", "1", "--prune") == 0
    checked = restic_new.run("check", "--read-data", repo=location, password=PASSWORD)
    assert b"no errors were found" in checked.stdout
    restic_new.run("restore", f"latest:{folder}", "--target", tmp_path / "restored", repo=location, password=PASSWORD)
    assert contents(tmp_path / "restored") == contents(folder)
