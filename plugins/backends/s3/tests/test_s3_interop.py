"""One repository in a real bucket for restic's own S3 backend and for ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.testing.restic import Restic

from tests.services.rclone_s3 import RcloneS3Server
from tests.services.swift_server import SwiftServer

PASSWORD = "interop"

pytestmark = pytest.mark.interop


class Place:
    """A repository on a server, and both programs on it."""

    def __init__(self, server: SwiftServer | RcloneS3Server) -> None:
        self.location = f"s3:{server.url}/the-bucket/some/prefix"
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


@pytest.fixture(params=[SwiftServer, RcloneS3Server])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty server; the bucket is made by `init`."""
    with request.param(tmp_path / "server") as server:
        yield Place(server)


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
    """What Limpet put in a bucket must be readable without Limpet, and be written to."""
    assert place.limpet("init") == 0
    assert place.limpet("backup", folder) == 0
    assert b"no errors were found" in place.restic(restic_new, "check", "--read-data")
    (folder / "new").write_bytes(b"new")
    place.restic(restic_new, "backup", folder)
    assert place.limpet("check", "--read-data") == 0
    assert place.limpet("restore", f"latest:{folder}", "--target", tmp_path / "restored") == 0
    assert contents(tmp_path / "restored") == contents(folder)


def test_we_go_on_with_restics(restic_new: Restic, place: Place, folder: Path, tmp_path: Path) -> None:
    """A repository that restic has made in a bucket is taken over as it is."""
    place.restic(restic_new, "init")
    place.restic(restic_new, "backup", folder)
    (folder / "new").write_bytes(b"new")
    assert place.limpet("backup", folder) == 0
    assert place.limpet("forget", "--keep-last", "1", "--prune") == 0
    place.restic(restic_new, "check", "--read-data")
    place.restic(restic_new, "restore", f"latest:{folder}", "--target", tmp_path / "restored")
    assert contents(tmp_path / "restored") == contents(folder)


def test_the_older_restic(restic_any: Restic, tmp_path: Path, folder: Path) -> None:
    """Many people run the restic of their distribution beside Limpet."""
    with RcloneS3Server(tmp_path / "server") as server:
        place = Place(server)
        assert place.limpet("init") == 0
        assert place.limpet("backup", folder) == 0
        place.restic(restic_any, "backup", folder)
        assert b"no errors were found" in place.restic(restic_any, "check", "--read-data")
        assert place.limpet("check", "--read-data") == 0
