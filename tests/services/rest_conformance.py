"""`RestConformance`: the REST backend against the conformance suite, on a server that a subclass gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend
from limpet_backend_rest import RestBackend

from tests.services.folder_conformance import FolderConformance
from tests.services.process import free_port
from tests.services.rest_server import RestServer

NUMBERS = itertools.count()


class RestConformance(FolderConformance):
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

    def root_of(self, backend: Backend) -> Path:
        return self.server.data / self.repository

    def open_missing_store(self, backend: Backend) -> Backend:
        return RestBackend.open(self.server.url("nobody-made-this"), {})

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return RestBackend.open(f"http://127.0.0.1:{free_port()}/repository/", {})
