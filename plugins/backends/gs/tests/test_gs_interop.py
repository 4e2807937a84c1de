"""One bucket on fake-gcs-server for restic's own gs backend and for ours, each with the same variables and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.backends.round_trips import limpet_goes_on, restic_goes_on
from tests.services.gcs_server import GcsServer

PASSWORD = "interop"

pytestmark = pytest.mark.interop


class Place:
    """A repository in a bucket, and both programs on it."""

    def __init__(self, location: str) -> None:
        self.location = location

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        return main(["--no-cache", "-r", self.location, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        return restic.run(*arguments, repo=self.location, password=PASSWORD).stdout


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """The emulator."""
    with GcsServer(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture
def place(gcs: GcsServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
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
    return Place(f"gs:{bucket}:/a/repository")


def test_restic_goes_on_with_ours(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """What Limpet put into Google's storage must be readable without Limpet, and be written to."""
    restic_goes_on(place, restic_new, tmp_path)


def test_we_go_on_with_restics(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """A repository that restic has made in Google's storage is taken over as it is."""
    limpet_goes_on(place, restic_new, tmp_path)
