"""One repository on a real rest-server for restic's own REST backend and for ours, with TLS and users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.certificates import identity
from limpet.testing.restic import Restic

from tests.backends.round_trips import limpet_goes_on, restic_goes_on
from tests.services.rest_server import RestServer, certificate_bundle

PASSWORD = "interop"
LOGIN = {"REST_USERNAME": "ann", "REST_PASSWORD": "a/word:of@hers"}

pytestmark = pytest.mark.interop


class Place:
    """A repository on a server, and both programs on it."""

    def __init__(self, server: RestServer, authority: str) -> None:
        self.location = f"rest:{server.url('ann/repository')}"
        self._authority = authority

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        given = ["--no-cache", "--cacert", self._authority, "-r", self.location]
        return main([*given, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        environment = {f"RESTIC_{name}": value for name, value in LOGIN.items()}
        location = self.location
        if restic.version().startswith("0.14"):  # knows no variables for this
            location = location.replace("https://", "https://ann:a%2Fword%3Aof%40hers@")
        given = ["--cacert", self._authority]
        return restic.run(*given, *arguments, repo=location, password=PASSWORD, env=environment).stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A new server, which keeps each user's repositories from the others."""
    own = identity("server")
    server = RestServer(tmp_path, "--private-repos", users={"ann": LOGIN["REST_PASSWORD"]}, identity=own)
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"RESTIC_{name}", value)
    yield Place(server, certificate_bundle(tmp_path, own))
    server.close()


def test_restic_goes_on_with_ours(restic_any: Restic, place: Place, tmp_path: Path) -> None:
    """What Limpet put on a REST server must be readable without Limpet, and be written to."""
    restic_goes_on(place, restic_any, tmp_path)


def test_we_go_on_with_restics(restic_any: Restic, place: Place, tmp_path: Path) -> None:
    """A repository that restic has made on a REST server is taken over as it is."""
    limpet_goes_on(place, restic_any, tmp_path)
