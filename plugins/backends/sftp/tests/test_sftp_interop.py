"""One repository on a real sshd for restic's own SFTP backend and for ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.backends.round_trips import limpet_goes_on, restic_goes_on
from tests.services.sftp_server import SftpServer

PASSWORD = "interop"

pytestmark = pytest.mark.interop


class Place:
    """A repository on a server, and both programs on it."""

    def __init__(self, server: SftpServer, path: Path) -> None:
        self.location = f"sftp:{server.location(path)}"
        self._given = ("-o", f"sftp.args={server.arguments()}")
        command = f"ssh 127.0.0.1 -p {server.port} -l {server.user} {server.arguments()} -s sftp"
        self._given_to_old = ("-o", f"sftp.command={command}")  # it does not know the other option

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        return main(["--no-cache", *self._given, "-r", self.location, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        given = self._given_to_old if restic.version().startswith("0.14") else self._given
        return restic.run(*given, *arguments, repo=self.location, password=PASSWORD).stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """One sshd for all tests here."""
    with SftpServer(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


@pytest.fixture
def place(server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A repository that is not there yet."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    return Place(server, tmp_path / "repository")


def test_restic_goes_on_with_ours(restic_any: Restic, place: Place, tmp_path: Path) -> None:
    """What Limpet put on an SFTP server must be readable without Limpet, and be written to."""
    restic_goes_on(place, restic_any, tmp_path)


def test_we_go_on_with_restics(restic_any: Restic, place: Place, tmp_path: Path) -> None:
    """A repository that restic has made on an SFTP server is taken over as it is."""
    limpet_goes_on(place, restic_any, tmp_path)
