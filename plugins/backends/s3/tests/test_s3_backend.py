"""The S3 backend on two real servers: OpenStack Swift's S3 interface and `rclone serve s3`."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.contracts.options import OptionValue
from limpet.registry.location import split_location
from limpet.testing import BackendConformance
from limpet_backend_s3 import S3Backend

from tests.services.process import free_port
from tests.services.rclone_s3 import RcloneS3Server
from tests.services.swift_server import SwiftServer


def opened(location: str, key: str, secret: str, **options: OptionValue) -> S3Backend:
    """The backend at the location, with these keys and not those of the environment."""
    place = split_location(location, lambda scheme: scheme == "s3").rest
    values = {name.replace("_", "-"): value for name, value in options.items()}
    return S3Backend.open(place, {"access-key-id": key, "secret-access-key": secret, **values})


def object_path(handle: Handle) -> str:
    """Where restic's layout has the file."""
    if handle.kind is FileKind.CONFIG:
        return "config"
    folder = f"{handle.kind.value}/{handle.name[:2]}" if handle.kind is FileKind.PACK else handle.kind.value
    return f"{folder}/{handle.name}"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """Swift, one for all tests of a worker; its pages are a tenth of the usual."""
    with SwiftServer(tmp_path_factory.mktemp("swift") / "server", page=100) as server:
        yield server


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """rclone, one for all tests of a worker."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


class TestSwift(BackendConformance):
    """Swift checks signatures and Content-MD5, and has containers that others may read."""

    secrets = (SwiftServer.s3_secret,)
    listed_files = 250

    @pytest.fixture
    def backend(self, swift: SwiftServer) -> Iterator[Backend]:
        bucket = f"b{uuid4().hex}"
        self.server = swift
        backend = opened(f"s3:{swift.url}/{bucket}/some/prefix", swift.s3_key, swift.s3_secret)
        backend.create()
        self.bucket = bucket
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        return self.server.get(f"{self.bucket}/some/prefix/{object_path(handle)}")

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.put(f"{self.bucket}/some/prefix/{object_path(handle)}", data)

    def open_again(self, backend: Backend) -> Backend | None:
        return opened(backend.location, self.server.s3_key, self.server.s3_secret)

    def open_with_wrong_credentials(self, backend: Backend) -> Backend | None:
        return opened(backend.location, self.server.s3_key, "wrong")

    def open_missing_store(self, backend: Backend) -> Backend | None:
        return opened(f"s3:{self.server.url}/no-such-bucket/x", self.server.s3_key, self.server.s3_secret)

    def open_where_nothing_listens(self, backend: Backend) -> Backend | None:
        return opened(f"s3:http://127.0.0.1:{free_port()}/{self.bucket}", self.server.s3_key, self.server.s3_secret)

    def open_read_only(self, backend: Backend) -> Backend | None:
        self.server.let_read(self.bucket)
        return opened(backend.location, self.server.reader, self.server.reader_key)


class TestRclone(BackendConformance):
    """rclone keeps the objects as files, which makes every one of them visible."""

    secrets = (RcloneS3Server.s3_secret,)

    @pytest.fixture
    def backend(self, rclone: RcloneS3Server) -> Iterator[Backend]:
        self.server = rclone
        self.bucket = f"b{uuid4().hex}"
        backend = opened(f"s3:{rclone.url}/{self.bucket}", rclone.s3_key, rclone.s3_secret)
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        path = self.server.root / self.bucket / object_path(handle)
        return path.read_bytes() if path.exists() else None

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.write(f"{self.bucket}/{object_path(handle)}", data)

    def open_again(self, backend: Backend) -> Backend | None:
        return opened(backend.location, self.server.s3_key, self.server.s3_secret)

    def open_with_wrong_credentials(self, backend: Backend) -> Backend | None:
        return opened(backend.location, "SOMEBODYELSE", self.server.s3_secret)

    def open_missing_store(self, backend: Backend) -> Backend | None:
        return opened(f"s3:{self.server.url}/no-such-bucket", self.server.s3_key, self.server.s3_secret)

    def open_where_nothing_listens(self, backend: Backend) -> Backend | None:
        return opened(f"s3:http://127.0.0.1:{free_port()}/{self.bucket}", self.server.s3_key, self.server.s3_secret)

    @pytest.mark.skip(reason="rclone removes the old file before it has the new one; Swift does better")
    def test_replace_is_seen_whole(self, backend: Backend) -> None: ...
