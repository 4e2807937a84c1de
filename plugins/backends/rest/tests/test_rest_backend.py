"""The REST backend against the conformance suite, on the real rest-server in each way it can run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from limpet.contracts.backend import Backend
from limpet.contracts.transport import Transport
from limpet.testing.certificates import identity
from limpet_backend_rest import RestBackend

from tests.services.rest_conformance import RestConformance
from tests.services.rest_server import RestServer, certificate_bundle

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


class TestPlain(RestConformance):
    """What a rest-server at home is."""

    @pytest.fixture
    def rest_server(self, plain_server: RestServer) -> RestServer:
        return plain_server


class TestPrivateOverTls(RestConformance):
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

    def root_of(self, backend: Backend) -> Path:
        return self.server.data / "ann" / self.repository
