"""`RestConformance`: the REST backend against the conformance suite, on a server that a subclass gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, Handle
from limpet.testing.backend import BackendConformance
from limpet_backend_rest import RestBackend

from tests.services.process import free_port
from tests.services.rest_server import RestServer

NUMBERS = itertools.count()


class RestConformance(BackendConformance):
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
