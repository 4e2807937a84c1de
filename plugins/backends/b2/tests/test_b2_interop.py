"""One repository in B2 for restic's own B2 backend and for ours.

restic's library has the service's address built in: it is led to the simulator by HTTPS_PROXY and a certificate for
that address, so that its requests are what they would be anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.certificates import identity
from limpet.testing.restic import Restic

from tests.services.b2_server import B2Server

PASSWORD = "geheim-b2"
REPOSITORY = "b2:a-bucket:some/where"

pytestmark = pytest.mark.interop


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[B2Server]:
    """A simulator that both programs find."""
    certificate = identity("Backblaze", "api.backblazeb2.com").write(tmp_path / "certificate.pem")
    server = B2Server(tmp_path, certificate)
    for name, value in {
        "HTTPS_PROXY": server.url,
        "B2_ACCOUNT_ID": server.key_id,
        "B2_ACCOUNT_KEY": server.key,
        "LIMPET_PASSWORD": PASSWORD,
        "LIMPET_CACERT": certificate,
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "small").write_bytes(b"a small file")
    (folder / "large").write_bytes(bytes(range(256)) * 20_000)
    return folder


def limpet(*arguments: str | Path) -> int:
    """The exit code of Limpet with this command."""
    return main(["--no-cache", "-r", REPOSITORY, *map(str, arguments)])


def run_restic(restic: Restic, server: B2Server, tmp_path: Path, *arguments: str | Path) -> bytes:
    """What restic prints; AssertionError if it fails."""
    certificate = tmp_path / "certificate.pem"
    return restic.run("--cacert", certificate, *arguments, repo=REPOSITORY, password=PASSWORD).stdout


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_restic_goes_on_with_ours(restic_any: Restic, server: B2Server, folder: Path, tmp_path: Path) -> None:
    """What Limpet wrote to B2 must be readable without Limpet, and be written to."""
    assert limpet("init") == 0
    assert limpet("backup", folder) == 0
    assert b"no errors were found" in run_restic(restic_any, server, tmp_path, "check", "--read-data")
    (folder / "new").write_bytes(b"new")
    run_restic(restic_any, server, tmp_path, "backup", folder)
    assert any(agent.startswith("blazer/") for agent in server.stats()["agents"])
    assert limpet("check", "--read-data") == 0
    assert limpet("restore", "latest:" + str(folder), "--target", tmp_path / "restored") == 0
    assert contents(tmp_path / "restored") == contents(folder)


def test_we_go_on_with_restics(restic_new: Restic, server: B2Server, folder: Path, tmp_path: Path) -> None:
    """A repository that restic has made in B2 is taken over as it is."""
    run_restic(restic_new, server, tmp_path, "init")
    run_restic(restic_new, server, tmp_path, "backup", folder)
    (folder / "new").write_bytes(b"new")
    assert limpet("backup", folder) == 0
    assert limpet("forget", "--keep-last", "1", "--prune") == 0
    run_restic(restic_new, server, tmp_path, "check", "--read-data")
    run_restic(restic_new, server, tmp_path, "restore", "latest:" + str(folder), "--target", tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(folder)
    run_restic(restic_new, server, tmp_path, "forget", "latest", "--prune", "--unsafe-allow-remove-all")
    assert limpet("check", "--read-data") == 0
