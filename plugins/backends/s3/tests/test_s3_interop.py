"""One repository in a real bucket for restic's own S3 backend and for ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.backends.round_trips import limpet_goes_on, restic_goes_on, saved_folder
from tests.services.rclone_s3 import RcloneS3Server
from tests.services.swift_server import SwiftServer

PASSWORD = "interop"

pytestmark = pytest.mark.interop


class Place:
    """A repository on a server, and both programs on it."""

    def __init__(self, server: SwiftServer | RcloneS3Server) -> None:
        self.location = f"s3:{server.url}/b{uuid4().hex}/some/prefix"
        self._keys = {"AWS_ACCESS_KEY_ID": server.s3_key, "AWS_SECRET_ACCESS_KEY": server.s3_secret}

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self._keys, "LIMPET_PASSWORD": PASSWORD}.items():
                patch.setenv(name, value)
            return main(["--no-cache", "-r", self.location, *map(str, arguments)])

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""
        return restic.run(*arguments, repo=self.location, password=PASSWORD, env=self._keys).stdout


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """rclone, one for all tests of a worker."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """Swift, one for all tests of a worker."""
    with SwiftServer(tmp_path_factory.mktemp("swift") / "server") as server:
        yield server


@pytest.fixture(params=["swift", "rclone"])
def place(request: pytest.FixtureRequest) -> Place:
    """A bucket that `init` is to make."""
    return Place(request.getfixturevalue(request.param))


def test_restic_goes_on_with_ours(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """What Limpet put in a bucket must be readable without Limpet, and be written to."""
    restic_goes_on(place, restic_new, tmp_path)


def test_we_go_on_with_restics(restic_new: Restic, place: Place, tmp_path: Path) -> None:
    """A repository that restic has made in a bucket is taken over as it is."""
    limpet_goes_on(place, restic_new, tmp_path)


def test_the_older_restic(restic_old: Restic, rclone: RcloneS3Server, tmp_path: Path) -> None:
    """Many people run the restic of their distribution beside Limpet."""
    place, folder = Place(rclone), saved_folder(tmp_path)
    assert place.limpet("init") == 0
    assert place.limpet("backup", folder) == 0
    place.restic(restic_old, "backup", folder)
    assert b"no errors were found" in place.restic(restic_old, "check", "--read-data")
    assert place.limpet("check", "--read-data") == 0
