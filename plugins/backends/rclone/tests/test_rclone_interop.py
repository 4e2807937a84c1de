"""One repository on a remote of rclone's for restic's own rclone backend and for ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.backends.round_trips import limpet_goes_on, restic_goes_on
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


def test_restic_goes_on_with_ours(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """What Limpet put on a remote must be readable without Limpet, and be written to."""
    restic_goes_on(place, restic_new, tmp_path)


def test_we_go_on_with_restics(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """A repository that restic has made on a remote is taken over as it is."""
    limpet_goes_on(place, restic_new, tmp_path)
