"""The Google backend against the conformance suite on fake-gcs-server, and each kind of credentials."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.contracts.options import Options
from limpet.testing.backend import BackendConformance
from limpet_backend_gs import GoogleBackend

from tests.services.gcs_server import GcsServer
from tests.services.process import free_port


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """The emulator, over http."""
    with GcsServer(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_account_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_PROJECT_ID", "GOOGLE_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)


def new_place(folder: str = "a folder/inner") -> str:
    """A place in a bucket of its own."""
    return f"b{uuid.uuid4().hex}:/{folder}"


def place_of(backend: Backend) -> str:
    """The location without its scheme."""
    return backend.location.removeprefix("gs:")


def object_of(backend: Backend, handle: Handle) -> tuple[str, str]:
    """Bucket and object in which restic keeps this file."""
    bucket, _, folder = place_of(backend).partition(":/")
    if handle.kind is FileKind.CONFIG:
        return bucket, f"{folder}/config"
    inner = f"{handle.name[:2]}/" if handle.kind is FileKind.PACK else ""
    return bucket, f"{folder}/{handle.kind.value}/{inner}{handle.name}"


class TestGoogleBackend(BackendConformance):
    """With a token, which the emulator does not look at."""

    secrets = ("secret-token",)

    @pytest.fixture(autouse=True)
    def _server(self, gcs: GcsServer) -> None:
        self.server = gcs

    @pytest.fixture
    def backend(self, gcs: GcsServer) -> Iterator[Backend]:
        backend = GoogleBackend.open(new_place(), self.options())
        backend.create()
        yield backend
        backend.close()

    def options(self, **more: str | int) -> Options:
        """Options that open the server."""
        return {"endpoint": self.server.url, "access-token": "secret-token", "project-id": "limpet", **more}

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        return self.server.read(*object_of(backend, handle))

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.write(*object_of(backend, handle), data)

    def open_again(self, backend: Backend) -> Backend:
        return GoogleBackend.open(place_of(backend), self.options())

    def open_missing_store(self, backend: Backend) -> Backend:
        return GoogleBackend.open("no-such-bucket:/", self.options())

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return GoogleBackend.open(place_of(backend), self.options(endpoint=f"127.0.0.1:{free_port()}"))
