"""The REST backend's conformance suite, against `limpet serve`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.rest_conformance import RestConformance
from tests.services.rest_server import LimpetServer, RestServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimpetServer]:
    """Anybody may do anything."""
    server = LimpetServer(tmp_path_factory.mktemp("serve"))
    yield server
    server.close()


class TestLimpetServe(RestConformance):
    """Whatever Limpet's own client relies on holds of its own server as it does of rest-server."""

    @pytest.fixture
    def rest_server(self, server: LimpetServer) -> RestServer:
        return server
