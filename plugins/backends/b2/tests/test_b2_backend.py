"""The B2 backend against the conformance suite, on b2sdk's simulator: keys, versions, tokens, failures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.testing.backend import BackendConformance
from limpet_backend_b2 import B2Backend

from tests.services.b2_server import B2Server
from tests.services.process import free_port

PREFIX = "backups/of mine"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[B2Server]:
    """One simulator for all tests of this file; each has a bucket of its own."""
    server = B2Server(tmp_path_factory.mktemp("b2"))
    yield server
    server.close()


@pytest.fixture
def bucket() -> str:
    """The name of a bucket that is not there yet."""
    return f"bucket-{next(_numbers)}"


def options_of(server: B2Server, **other: Any) -> dict[str, Any]:
    """What the backend is opened with, as the owner of the account."""
    return {"account_id": server.key_id, "account_key": server.key, "realm": server.url, **other}


def open_b2(server: B2Server, bucket: str, **other: Any) -> B2Backend:
    """The repository below PREFIX of the bucket."""
    return B2Backend.open(f"{bucket}:{PREFIX}", options_of(server, **other))


def name_of(handle: Handle) -> str:
    """Where restic keeps this file below PREFIX."""
    if handle.kind is FileKind.CONFIG:
        return f"{PREFIX}/config"
    fan_out = f"{handle.name[:2]}/" if handle.kind is FileKind.PACK else ""
    return f"{PREFIX}/{handle.kind.value}/{fan_out}{handle.name}"


def bucket_of(backend: Backend) -> str:
    """The name of the bucket the backend was opened for."""
    return backend.location.split(":")[1]


class TestB2Backend(BackendConformance):
    """The native API, as the owner of the account."""

    secrets = (B2Server.key,)

    @pytest.fixture
    def backend(self, server: B2Server, bucket: str) -> Iterator[Backend]:
        self.server = server
        backend = open_b2(server, bucket)
        backend.create()
        yield backend
        backend.close()

    def _bucket_id(self, backend: Backend) -> str:
        name = bucket_of(backend)
        found = self.server.call("list_buckets", accountId=self.server.key_id, bucketName=name)
        return str(found["buckets"][0]["bucketId"])

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        return self.server.read(bucket_of(backend), name_of(handle))

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.write(self._bucket_id(backend), name_of(handle), data)

    def open_again(self, backend: Backend) -> Backend:
        return open_b2(self.server, bucket_of(backend))

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return open_b2(self.server, bucket_of(backend), account_key="not the key")

    def open_missing_store(self, backend: Backend) -> Backend:
        return open_b2(self.server, "no-such-bucket")

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return open_b2(self.server, bucket_of(backend), realm=f"http://127.0.0.1:{free_port()}")

    def open_read_only(self, backend: Backend) -> Backend:
        key_id, key = self.server.make_key(("listBuckets", "listFiles", "readFiles"))
        return open_b2(self.server, bucket_of(backend), account_id=key_id, account_key=key)
