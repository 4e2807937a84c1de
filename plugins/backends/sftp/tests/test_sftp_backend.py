"""The SFTP backend on a real OpenSSH server, through ssh and through paramiko."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.contracts.options import Options
from limpet.testing.backend import BackendConformance
from limpet_backend_sftp import SftpBackend

from tests.services.process import free_port
from tests.services.sftp_server import SftpServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """One sshd for all tests here."""
    with SftpServer(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


def path_of(backend: Backend, handle: Handle) -> Path:
    """Where restic keeps this file."""
    assert isinstance(backend, SftpBackend)
    root = Path(backend.place.path)
    if handle.kind is FileKind.CONFIG:
        return root / "config"
    if handle.kind is FileKind.PACK:
        return root / "data" / handle.name[:2] / handle.name
    return root.joinpath(handle.kind.value, handle.name)


class TestThroughSsh(BackendConformance):
    """The way that most people take."""

    client = "ssh"
    listed_files = 600

    @pytest.fixture(scope="class")
    def opened(self, server: SftpServer) -> Iterator[SftpBackend]:
        """Its connection serves every test of the class: to log in takes longer than most of them."""
        opened = SftpBackend.open(
            server.location(server.root), {"client": self.client, "args": server.arguments(server.ssh_config())}
        )
        yield opened
        opened.close()

    @pytest.fixture
    def backend(self, server: SftpServer, opened: SftpBackend, tmp_path: Path) -> Backend:
        self.server = server
        place = replace(opened.place, path=str(tmp_path / "repository"))
        backend = SftpBackend(place, opened.connection)
        backend.create()
        return backend

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        path = path_of(backend, handle)
        return path.read_bytes() if path.exists() else None

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        path = path_of(backend, handle)
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            path.chmod(0o600)
        path.write_bytes(data)

    def open_again(self, backend: Backend) -> Backend:
        return self._open(backend.location.removeprefix("sftp:"))

    def open_with_wrong_credentials(self, backend: Backend) -> Backend | None:
        config = self.server.ssh_config("stranger_config", IdentityFile=self.server.stranger_key)
        return self._open(backend.location.removeprefix("sftp:"), config)

    def open_missing_store(self, backend: Backend) -> Backend | None:
        return self._open(backend.location.removeprefix("sftp:") + "-that-is-not-there")

    def open_where_nothing_listens(self, backend: Backend) -> Backend | None:
        assert isinstance(backend, SftpBackend)
        return self._open(f"//127.0.0.1:{free_port()}/{backend.place.path}")

    def open_read_only(self, backend: Backend) -> Backend | None:
        config = self.server.ssh_config("reader_config", IdentityFile=self.server.reader_key)
        return self._open(backend.location.removeprefix("sftp:"), config)

    def _open(self, location: str, config: Path | None = None) -> SftpBackend:
        options: Options = {"client": self.client, "args": self.server.arguments(config)}
        return SftpBackend.open(location, options)


class TestThroughParamiko(TestThroughSsh):
    """The way where there is no ssh."""

    client = "paramiko"
