"""The libcloud backend with the drivers that a server here speaks to: S3 and Ceph's on Swift, MinIO's on rclone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from libcloud.storage.base import StorageDriver
from libcloud.storage.drivers.s3 import S3StorageDriver
from libcloud.storage.providers import DRIVERS
from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.contracts.options import OptionValue
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, UsageError
from limpet.testing.backend import MIB, BackendConformance, content_of, handle_of, some_bytes
from limpet_backend_libcloud import LibcloudBackend

from tests.services.process import free_port
from tests.services.rclone_s3 import RcloneS3Server
from tests.services.swift_server import SwiftServer

PREFIX = "some/prefix"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """Swift with its S3 interface, for the tests of this file; pages of 200, to have several."""
    with SwiftServer(tmp_path_factory.mktemp("swift") / "server", page=200) as server:
        yield server


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """rclone's S3 server, for the tests of this file."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def options_for(server: SwiftServer | RcloneS3Server, **more: OptionValue) -> dict[str, OptionValue]:
    """What reaches the server."""
    return {
        "key": server.s3_key,
        "secret": server.s3_secret,
        "host": "127.0.0.1",
        "port": server.port,
        "secure": False,
        **more,
    }


def object_path(handle: Handle) -> str:
    """Where restic's layout has the file."""
    if handle.kind is FileKind.CONFIG:
        return f"{PREFIX}/config"
    folder = f"{handle.kind.value}/{handle.name[:2]}" if handle.kind is FileKind.PACK else handle.kind.value
    return f"{PREFIX}/{folder}/{handle.name}"


class OnSwift(BackendConformance):
    """What the providers have in common whose drivers are tried on Swift."""

    secrets = (SwiftServer.s3_secret,)
    provider: ClassVar[str]
    options: ClassVar[dict[str, OptionValue]] = {}

    @pytest.fixture
    def backend(self, swift: SwiftServer) -> Iterator[Backend]:
        self.server = swift
        self.bucket = f"b{uuid.uuid4().hex}"
        backend = self._open()
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        return self.server.get(f"{self.bucket}/{object_path(handle)}")

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.put(f"{self.bucket}/{object_path(handle)}", data)

    def open_again(self, backend: Backend) -> Backend:
        return self._open()

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return self._open(secret="not the key")

    def open_missing_store(self, backend: Backend) -> Backend:
        return LibcloudBackend.open(f"{self.provider}:nowhere/x", options_for(self.server, **self.options))

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return self._open(port=free_port())

    def open_read_only(self, backend: Backend) -> Backend:
        self.server.let_read(self.bucket)
        return self._open(key=self.server.reader, secret=self.server.reader_key)

    def _open(self, **more: OptionValue) -> LibcloudBackend:
        place = f"{self.provider}:{self.bucket}/{PREFIX}"
        return LibcloudBackend.open(place, options_for(self.server, **{**self.options, **more}))


class TestS3(OnSwift):
    """Amazon's driver, the base of a dozen others."""

    provider = "s3"
    listed_files = 450


class TestCephRgw(OnSwift):
    """Ceph's driver, with its own signatures; only this provider's part of what the S3 driver has shown."""

    provider = "S3_RGW"
    options: ClassVar[dict[str, OptionValue]] = {"region": "us-east-1"}
    listed_files = 250
    largest_size_bytes = 20 * MIB


class TestMinio(BackendConformance):
    """MinIO's driver, on a server that checks signatures too."""

    secrets = (RcloneS3Server.s3_secret,)

    @pytest.fixture
    def backend(self, rclone: RcloneS3Server) -> Iterator[Backend]:
        self.server = rclone
        self.bucket = f"b{uuid.uuid4().hex}"
        backend = self._open()
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        path = self._path(handle)
        return path.read_bytes() if path.exists() else None

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.write(str(self._path(handle).relative_to(self.server.root)), data)

    def open_again(self, backend: Backend) -> Backend:
        return self._open()

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return self._open(secret="not the key")

    def open_missing_store(self, backend: Backend) -> Backend:
        return LibcloudBackend.open("minio:nowhere/x", options_for(self.server))

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return self._open(port=free_port())

    @pytest.mark.skip(reason="rclone removes the old file before it has the new one; Swift does better")
    def test_replace_is_seen_whole(self, backend: Backend) -> None: ...

    def _path(self, handle: Handle) -> Path:
        return self.server.root / self.bucket / object_path(handle)

    def _open(self, **more: OptionValue) -> LibcloudBackend:
        return LibcloudBackend.open(f"minio:{self.bucket}/{PREFIX}", options_for(self.server, **more))


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "libcloud:PROVIDER:CONTAINER/PREFIX"),
        ("s3", "libcloud:PROVIDER:CONTAINER/PREFIX"),
        ("s3:", "libcloud:PROVIDER:CONTAINER/PREFIX"),
        (":bucket", "libcloud:PROVIDER:CONTAINER/PREFIX"),
        ("s3:bucket/../other", "leads out of the container"),
        ("s3:../other", "leads out of the container"),
        ("myspace:bucket", "known: aliyun_oss, .*, s3_us_west_oregon"),
        ("dummy:bucket", "it keeps nothing"),
        ("LOCAL:bucket", "use local:FOLDER"),
        ("Backblaze_B2:bucket", "use b2:BUCKET:PATH"),
        ("nimbus:bucket", "its driver lacks .*upload_object"),
        ("minio:bucket", "host argument is required"),
    ],
)
def test_what_cannot_be_opened(location: str, reason: str) -> None:
    """A provider that would lose files, or that is not there, is refused by name and with the way out."""
    with pytest.raises(UsageError, match=reason) as caught:
        LibcloudBackend.open(location, {"key": "a key", "secret": "hidden-secret"})
    assert "hidden-secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["S3_EU_WEST", "s3_eu_west", "S3_AP_NORTHEAST2", "s3_ap_northeast_2", "ALIYUN_OSS"])
def test_names_of_providers(name: str) -> None:
    """libcloud's documentation has the constants, its users' scripts the values."""
    backend = LibcloudBackend.open(f"{name}:bucket", {"key": "a key", "secret": "hidden-secret"})
    assert backend.location == f"libcloud:{name}:bucket"
    assert "hidden-secret" not in repr(backend)
    backend.close()


def test_more_arguments_of_a_driver(swift: SwiftServer) -> None:
    """What only one driver knows can be given too, and what it does not know is told."""
    with pytest.raises(UsageError, match="Invalid signature_version"):
        LibcloudBackend.open("s3_rgw:bucket", options_for(swift, extra="signature_version=5"))
    with pytest.raises(UsageError, match="NAME=VALUE"):
        LibcloudBackend.open("s3_rgw:bucket", options_for(swift, extra="signature_version"))


class WholeObjects(S3StorageDriver):
    """A driver that a third party has registered, and that reads whole objects only, as Alibaba's does."""

    download_object_range_as_stream = StorageDriver.download_object_range_as_stream


def test_a_driver_without_ranges(swift: SwiftServer) -> None:
    """What such a driver gives is cut, and an end that is not there is still told."""
    DRIVERS["whole_objects"] = (__name__, "WholeObjects")
    backend = LibcloudBackend.open(f"whole_objects:b{uuid.uuid4().hex}", options_for(swift))
    backend.create()
    data = some_bytes(3 * MIB)
    handle = handle_of(data)
    backend.save(handle, content_of(data))
    assert backend.load(handle, MIB - 7, 20) == data[MIB - 7 : MIB + 13]
    assert backend.load(handle, 2 * MIB + 1) == data[2 * MIB + 1 :]
    assert backend.load(handle, len(data)) == b""
    for offset, length in ((len(data) - 1, 2), (len(data) + 1, None), (len(data), 1)):
        with pytest.raises(BackendError, match="it ends before") as caught:
            backend.load(handle, offset, length)
        assert caught.value.permanent
    backend.close()


def test_requests_name_their_program_and_end_in_time(rclone: RcloneS3Server) -> None:
    """A server that never answers is given up after the time that was asked for, uploads too."""
    import socket  # noqa: PLC0415  # for this test alone

    with socket.create_server(("127.0.0.1", 0)) as silent:
        heard = threading.Event()
        said: list[bytes] = []

        def listen() -> None:
            connection, _ = silent.accept()
            said.append(connection.recv(65536))
            heard.wait(30)
            connection.close()

        listening = threading.Thread(target=listen)
        listening.start()
        transport = Transport(user_agent="a-backup/1", stuck_request_timeout_s=0.5)
        options = options_for(rclone, port=silent.getsockname()[1])
        backend = LibcloudBackend.open("minio:bucket", options, transport)
        with pytest.raises(BackendError, match=r"no answer from 127\.0\.0\.1") as caught:
            backend.save(CONFIG_HANDLE, content_of(b"x"))
        heard.set()
        listening.join()
        backend.close()
    assert not caught.value.permanent
    assert b"user-agent: a-backup/1\r\n" in said[0].lower()
