"""The SFTP backend on a real OpenSSH server, through ssh and through paramiko."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend
from limpet.contracts.options import Options
from limpet_backend_sftp import SftpBackend

from tests.services.folder_conformance import FolderConformance
from tests.services.process import free_port
from tests.services.sftp_server import SFTP_PROGRAM, SftpServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """One sshd for all tests here."""
    with SftpServer(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def connections() -> Iterator[dict[str, SftpBackend]]:
    """By client a backend whose connection is used again."""
    opened: dict[str, SftpBackend] = {}
    yield opened
    for backend in opened.values():
        backend.close()


class TestThroughSsh(FolderConformance):
    """The way that most people take."""

    client = "ssh"
    listed_files = 600

    @pytest.fixture
    def backend(self, server: SftpServer, connections: dict[str, SftpBackend], tmp_path: Path) -> Backend:
        self.server = server
        if self.client not in connections:  # it serves every test of the class: logging in takes longer than most
            connections[self.client] = self._open(server.location(server.root), server.ssh_config())
        opened = connections[self.client]
        backend = SftpBackend(replace(opened.place, path=str(tmp_path / "repository")), opened.connection)
        backend.create()
        return backend

    def root_of(self, backend: Backend) -> Path:
        assert isinstance(backend, SftpBackend)
        return Path(backend.place.path)

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


class TestWithoutExtensions(TestThroughSsh):
    """A server that knows the protocol's version 3 and nothing else: no replacing, no sync, small requests."""

    client = "command"

    def open_with_wrong_credentials(self, backend: Backend) -> Backend | None:
        return None

    def open_where_nothing_listens(self, backend: Backend) -> Backend | None:
        return None

    def open_read_only(self, backend: Backend) -> Backend | None:
        return self._run(backend.location.removeprefix("sftp:"), "-R")

    def _open(self, location: str, config: Path | None = None) -> SftpBackend:
        return self._run(location)

    def _run(self, location: str, *flags: str) -> SftpBackend:
        denied = "posix-rename,fsync,limits,statvfs"
        return SftpBackend.open(location, {"command": shlex.join([str(SFTP_PROGRAM), "-P", denied, *flags])})
