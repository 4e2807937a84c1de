"""The REST backend against the conformance suite, on the real rest-server in each way it can run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from limpet.contracts.backend import Backend, Handle
from limpet.contracts.transport import Transport
from limpet.testing.backend import BackendConformance
from limpet.testing.certificates import identity
from limpet_backend_rest import RestBackend

from tests.services.process import free_port
from tests.services.rest_server import RestServer, certificate_bundle

NUMBERS = itertools.count()
PASSWORD = "a/secret:with@all"


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """Anybody may do anything."""
    server = RestServer(tmp_path_factory.mktemp("rest"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def private_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RestServer, Transport]]:
    """A server with TLS and users, and how to trust it."""
    folder = tmp_path_factory.mktemp("rest")
    own = identity("server")
    server = RestServer(folder, "--private-repos", users={"ann": PASSWORD, "bob": "other"}, identity=own)
    yield server, Transport(root_certificates=(certificate_bundle(folder, own),))
    server.close()


class Conformance(BackendConformance):
    """What holds for every server; a subclass says how it is started and reached."""

    names_are_checked = True
    server: RestServer
    repository: str

    @pytest.fixture
    def backend(self, rest_server: RestServer) -> Iterator[Backend]:
        self.server = rest_server
        self.repository = f"repository-{next(NUMBERS)}"
        backend = self.opened()
        backend.create()
        yield backend
        backend.close()

    def opened(self) -> RestBackend:
        return RestBackend.open(self.server.url(self.repository), {})

    def open_again(self, backend: Backend) -> Backend:
        return self.opened()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        path = self.path_of(handle)
        return path.read_bytes() if path.exists() else None

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        path = self.path_of(handle)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    def path_of(self, handle: Handle) -> Path:
        return self.server.path_of(self.repository, handle)

    def open_missing_store(self, backend: Backend) -> Backend:
        return RestBackend.open(self.server.url("nobody-made-this"), {})

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return RestBackend.open(f"http://127.0.0.1:{free_port()}/repository/", {})


class TestPlain(Conformance):
    """What a rest-server at home is."""

    @pytest.fixture
    def rest_server(self, plain_server: RestServer) -> RestServer:
        return plain_server


class TestPrivateOverTls(Conformance):
    """What a provider runs: TLS, passwords, and each user in a folder of the user's own."""

    secrets = (PASSWORD,)
    transport: Transport

    @pytest.fixture
    def rest_server(self, private_server: tuple[RestServer, Transport]) -> RestServer:
        server, self.transport = private_server
        return server

    def opened(self) -> RestBackend:
        return self._open(f"ann:{quote(PASSWORD, safe='')}")

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return self._open("ann:wrong")

    def open_missing_store(self, backend: Backend) -> Backend:
        login = f"ann:{quote(PASSWORD, safe='')}"
        return RestBackend.open(self.server.url("bob/repository", login), {}, self.transport)

    def _open(self, login: str) -> RestBackend:
        return RestBackend.open(self.server.url(f"ann/{self.repository}", login), {}, self.transport)

    def path_of(self, handle: Handle) -> Path:
        return self.server.path_of(f"ann/{self.repository}", handle)
