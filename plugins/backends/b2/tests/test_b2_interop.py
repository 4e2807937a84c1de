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

from tests.backends.round_trips import limpet_goes_on, restic_goes_on
from tests.services.b2_server import B2Server

PASSWORD = "geheim-b2"
REPOSITORY = "b2:a-bucket:some/where"

pytestmark = pytest.mark.interop


class Place:
    """The repository, and both programs on it."""

    def __init__(self, certificate: Path) -> None:
        self._certificate = certificate

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        return main(["--no-cache", "-r", REPOSITORY, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        return restic.run("--cacert", self._certificate, *arguments, repo=REPOSITORY, password=PASSWORD).stdout


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
def place(server: B2Server, tmp_path: Path) -> Place:
    """A repository that is not there yet."""
    return Place(tmp_path / "certificate.pem")


def test_restic_goes_on_with_ours(restic_any: Restic, server: B2Server, place: Place, tmp_path: Path) -> None:
    """What Limpet wrote to B2 must be readable without Limpet, and be written to."""
    restic_goes_on(place, restic_any, tmp_path)
    assert any(agent.startswith("blazer/") for agent in server.stats()["agents"])


def test_we_go_on_with_restics(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """A repository that restic has made in B2 is taken over as it is."""
    limpet_goes_on(place, restic_new, tmp_path)
    place.restic(restic_new, "forget", "latest", "--prune", "--unsafe-allow-remove-all")
    assert place.limpet("check", "--read-data") == 0
