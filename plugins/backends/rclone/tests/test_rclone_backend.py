"""The rclone backend against the conformance suite, on a real rclone with a local remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend
from limpet_backend_rclone import RcloneBackend

from tests.services.folder_conformance import FolderConformance
from tests.services.process import PEERS, program


class TestRclone(FolderConformance):
    """What holds for every backend, through another program."""

    root: Path

    @pytest.fixture
    def backend(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        config = tmp_path / "rclone.conf"
        config.write_text("[disk]\ntype = local\n")
        monkeypatch.setenv("RCLONE_CONFIG", str(config))
        self.root = tmp_path / "repository"
        backend = self.opened(self.root)
        backend.create()
        yield backend
        backend.close()

    def opened(self, root: Path) -> RcloneBackend:
        return RcloneBackend.open(f"disk:{root}", {"program": str(program("rclone", PEERS))})

    def open_again(self, backend: Backend) -> Backend:
        return self.opened(self.root)

    def open_missing_store(self, backend: Backend) -> Backend:
        return self.opened(self.root / "nobody-made-this")

    def root_of(self, backend: Backend) -> Path:
        return self.root

    # rclone writes to a local disk in place, as on a few other remotes (README, limits). Its object storages have no
    # such moments, but none of them is here.

    def test_list_while_others_write(self, backend: Backend) -> None:
        """Not on a disk: what another process uploads is listed before it is whole."""
        pytest.skip("rclone writes to a local disk in place")

    def test_two_writers_of_one_name(self, backend: Backend) -> None:
        """Not on a disk: two processes that upload one name at once mix their bytes; names are hashes, so none do."""
        pytest.skip("rclone writes to a local disk in place")
