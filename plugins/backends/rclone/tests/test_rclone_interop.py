"""One repository on a remote of rclone's for restic's own rclone backend and for ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.services.process import PEERS, program

PASSWORD = "interop"

pytestmark = pytest.mark.interop


class Place:
    """A repository, and both programs on it."""

    def __init__(self, folder: Path) -> None:
        self.location = f"rclone:disk:{folder}"
        self._options = ["-o", f"rclone.program={program('rclone', PEERS)}"]

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        return main(["--no-cache", "-r", self.location, *self._options, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        return restic.run(*self._options, *arguments, repo=self.location, password=PASSWORD).stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A remote that both find."""
    (tmp_path / "rclone.conf").write_text("[disk]\ntype = local\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    return Place(tmp_path / "repository")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "small").write_bytes(b"a small file")
    (folder / "large").write_bytes(bytes(range(256)) * 20_000)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_restic_goes_on_with_ours(restic_new: Restic, place: Place, folder: Path, tmp_path: Path) -> None:
    """What Limpet put on a remote must be readable without Limpet, and be written to."""
    assert place.limpet("init") == 0
    assert place.limpet("backup", folder) == 0
    assert b"no errors were found" in place.restic(restic_new, "check", "--read-data")
    (folder / "new").write_bytes(b"new")
    place.restic(restic_new, "backup", folder)
    assert place.limpet("check", "--read-data") == 0
    assert place.limpet("restore", f"latest:{folder}", "--target", tmp_path / "restored") == 0
    assert contents(tmp_path / "restored") == contents(folder)


def test_we_go_on_with_restics(restic_new: Restic, place: Place, folder: Path, tmp_path: Path) -> None:
    """A repository that restic has made on a remote is taken over as it is."""
    place.restic(restic_new, "init")
    place.restic(restic_new, "backup", folder)
    (folder / "new").write_bytes(b"new")
    assert place.limpet("backup", folder) == 0
    assert place.limpet("forget", "--keep-last", "1", "--prune") == 0
    place.restic(restic_new, "check", "--read-data")
    place.restic(restic_new, "restore", f"latest:{folder}", "--target", tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(folder)
