"""One repository on a real sshd for restic's own SFTP backend and for ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

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


def test_restic_goes_on_with_ours(restic_any: Restic, place: Place, folder: Path, tmp_path: Path) -> None:
    """What Limpet put on an SFTP server must be readable without Limpet, and be written to."""
    assert place.limpet("init") == 0
    assert place.limpet("backup", folder) == 0
    assert b"no errors were found" in place.restic(restic_any, "check", "--read-data")
    (folder / "new").write_bytes(b"new")
    place.restic(restic_any, "backup", folder)
    assert place.limpet("check", "--read-data") == 0
    assert place.limpet("restore", f"latest:{folder}", "--target", tmp_path / "restored") == 0
    assert contents(tmp_path / "restored") == contents(folder)


def test_we_go_on_with_restics(restic_any: Restic, place: Place, folder: Path, tmp_path: Path) -> None:
    """A repository that restic has made on an SFTP server is taken over as it is."""
    place.restic(restic_any, "init")
    place.restic(restic_any, "backup", folder)
    (folder / "new").write_bytes(b"new")
    assert place.limpet("backup", folder) == 0
    assert place.limpet("forget", "--keep-last", "1", "--prune") == 0
    place.restic(restic_any, "check", "--read-data")
    place.restic(restic_any, "restore", "latest", "--target", tmp_path / "restored")
    assert contents(tmp_path / "restored" / folder.relative_to("/")) == contents(folder)
