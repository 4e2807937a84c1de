"""The libcloud backend on a network that fails, on TLS, and on a server that refuses; restic beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind
from limpet.contracts.options import OptionValue
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, StorageFullError, UsageError
from limpet.testing.backend import content_of, handle_of, save_all, some_bytes
from limpet.testing.certificates import identity
from limpet.testing.restic import Restic
from limpet_backend_libcloud import LibcloudBackend

from tests.services import fault_proxy
from tests.services.fault_proxy import FaultProxy, status
from tests.services.rclone_s3 import RcloneS3Server

PASSWORD = "interop"
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """An S3 server for the tests of this file."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture
def proxy(rclone: RcloneS3Server) -> Iterator[FaultProxy]:
    """The way to the server that fails when it is told to."""
    with FaultProxy(rclone.port) as running:
        yield running


@pytest.fixture
def backend(proxy: FaultProxy) -> Iterator[LibcloudBackend]:
    """A repository's place behind the proxy."""
    backend = LibcloudBackend.open(f"minio:b{uuid.uuid4().hex}", options_for(proxy.port))
    backend.create()
    yield backend
    backend.close()


def options_for(port: int, **more: OptionValue) -> dict[str, OptionValue]:
    """What reaches the server on this port."""
    keys = {"key": RcloneS3Server.s3_key, "secret": RcloneS3Server.s3_secret}
    return {**keys, "host": "127.0.0.1", "port": port, "secure": False, **more}


@pytest.mark.parametrize(
    ("code", "permanent", "reason"),
    [
        (400, True, "does not understand the request"),
        (401, True, "does not accept the key"),
        (403, True, "may not do this"),
        (413, True, "quota"),
        (507, True, "no space left"),
        (301, True, "another region"),
        (408, False, "408"),
        (500, False, "500 Internal Server Error"),
        (503, False, "503 Service Unavailable"),
    ],
)
def test_statuses(backend: LibcloudBackend, proxy: FaultProxy, code: int, permanent: bool, reason: str) -> None:
    """What waiting mends is tried again, all else is told at once and in words, whatever the driver makes of it."""
    (handle,) = save_all(backend, FileKind.PACK, [b"x"])
    calls = (
        lambda: backend.save(handle_of(b"y"), content_of(b"y")),
        lambda: backend.stat(handle),
        lambda: backend.load(handle),
        lambda: list(backend.list(FileKind.PACK)),
        lambda: backend.remove(handle),
    )
    for call in calls:
        proxy.inject(status(code), times=1)
        with pytest.raises(BackendError, match=reason) as caught:
            call()
        assert caught.value.permanent is permanent
        assert isinstance(caught.value, StorageFullError) is (code == 507)
        assert "\n" not in str(caught.value)
    assert backend.load(handle) == b"x"


def test_retry_after(backend: LibcloudBackend, proxy: FaultProxy) -> None:
    """A server that says when it wants to be asked again is asked then."""
    proxy.inject(status(429, retry_after_s=7), times=1)
    with pytest.raises(BackendError) as caught:
        backend.stat(CONFIG_HANDLE)
    assert (caught.value.permanent, caught.value.retry_after_s) == (False, 7.0)


@pytest.mark.parametrize(
    "fault", [fault_proxy.RESET, fault_proxy.LOST_ANSWER, fault_proxy.CUT_BODY], ids=lambda fault: str(fault.kind.name)
)
def test_broken_answers_are_no_data(backend: LibcloudBackend, proxy: FaultProxy, fault: fault_proxy.Fault) -> None:
    """A connection that breaks is tried again; half of a file is never taken for the file."""
    data = some_bytes(200_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    for offset, length in ((0, None), (0, 200_000), (1_000, 150_000)):
        proxy.inject(fault, times=1)
        with pytest.raises(BackendError) as caught:
            backend.load(handle, offset, length)
        assert not caught.value.permanent
        proxy.heal()
        assert backend.load(handle, offset, length) == data[offset : None if length is None else offset + length]


@pytest.mark.parametrize(
    "fault", [fault_proxy.SHORT_BODY, fault_proxy.WHOLE_BODY], ids=lambda fault: str(fault.kind.name)
)
def test_another_range_is_no_data(backend: LibcloudBackend, proxy: FaultProxy, fault: fault_proxy.Fault) -> None:
    """Fewer bytes than asked for, or those from the start of the file, must not be taken for the range."""
    data = some_bytes(200_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    proxy.inject(fault, times=1)
    with pytest.raises(BackendError):
        backend.load(handle, 1_000, 150_000)
    assert backend.load(handle, 1_000, 150_000) == data[1_000:151_000]


def test_connections_are_kept_and_closed(proxy: FaultProxy) -> None:
    """A backup must not use up the ports of its machine: no more connections than asked for, and none at the end."""
    backend = LibcloudBackend.open(f"minio:b{uuid.uuid4().hex}", options_for(proxy.port, connections=1))
    backend.create()
    handles = save_all(backend, FileKind.LOCK, [b"%d" % number for number in range(20)])
    for handle in handles:
        backend.load(handle)
        backend.remove(handle)
    assert proxy.accepted == 1
    backend.close()
    while proxy.open_now:
        time.sleep(0.01)


def test_tls(tmp_path: Path) -> None:
    """A server that does not prove who it is gets neither key nor data; one that wants a certificate gets it."""
    own, client = identity("server"), identity("client")
    certificate, authority = tmp_path / "server.pem", tmp_path / "client-authority.pem"
    own.write(certificate)
    authority.write_bytes(client.certificate)
    right, other = tmp_path / "right.pem", tmp_path / "other.pem"
    right.write_bytes(own.certificate)
    other.write_bytes(identity("other").certificate)
    shown = client.write(tmp_path / "client.pem")
    with RcloneS3Server(tmp_path / "rclone", certificate=certificate, client_authority=authority) as server:
        options = options_for(server.port, secure=True)
        for roots in ((), (str(other),)):
            backend = LibcloudBackend.open("minio:bucket", options, Transport(root_certificates=roots))
            with pytest.raises(BackendError, match="did not prove who it is") as caught:
                backend.stat(CONFIG_HANDLE)
            assert caught.value.permanent
            backend.close()
        nameless = LibcloudBackend.open("minio:bucket", options, Transport(verify_tls=False))
        with pytest.raises(BackendError, match="no answer"):
            nameless.stat(CONFIG_HANDLE)
        nameless.close()
        trusting = Transport(root_certificates=(str(other), str(right)), client_certificate=shown)
        for transport in (trusting, Transport(verify_tls=False, client_certificate=shown)):
            backend = LibcloudBackend.open("minio:bucket", options, transport)
            backend.create()
            backend.save(handle_of(b"x"), content_of(b"x"))
            assert backend.load(handle_of(b"x")) == b"x"
            backend.close()
    with pytest.raises(UsageError, match="unable to read root certificate"):
        LibcloudBackend.open("minio:b", options, Transport(root_certificates=(str(tmp_path / "none.pem"),)))


@pytest.mark.interop
def test_restic_reads_the_same_place(
    rclone: RcloneS3Server, restic_new: Restic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is locked in: what libcloud stored is restic's own repository, through restic's own S3 backend."""
    for name, value in {
        "LIBCLOUD_KEY": rclone.s3_key,
        "LIBCLOUD_SECRET": rclone.s3_secret,
        "LIBCLOUD_HOST": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": rclone.s3_key,
        "AWS_SECRET_ACCESS_KEY": rclone.s3_secret,
    }.items():
        monkeypatch.setenv(name, value)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(os.urandom(3_000_000))
    place, same_place = "libcloud:MINIO:both/a/prefix", f"s3:{rclone.url}/both/a/prefix"
    options = ["-o", f"libcloud.port={rclone.port}", "-o", "libcloud.secure=false"]

    def limpet(*arguments: str | Path) -> None:
        done = subprocess.run(
            [*LIMPET, "--no-cache", "-r", place, *options, *map(str, arguments)],
            env={**os.environ, "LIMPET_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    limpet("init")
    limpet("backup", tree)
    restic_new.run("check", "--read-data", repo=same_place, password=PASSWORD)
    (tree / "more").write_bytes(os.urandom(100_000))
    restic_new.run("backup", tree, repo=same_place, password=PASSWORD)
    limpet("check", "--read-data")
    limpet("restore", "latest", "--target", tmp_path / "back")
    back = tmp_path / "back" / tree.relative_to("/")
    assert all((back / name).read_bytes() == (tree / name).read_bytes() for name in ("file", "more"))
