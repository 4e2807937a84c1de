"""A bucket with object lock, by an emulator: the real servers here have none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from limpet.contracts.backend import Content, FileKind
from limpet.errors import MissingFileError
from limpet.testing.backend import content_of, save_all
from limpet_backend_s3 import S3Backend
from limpet_backend_s3.errors import RefusedError

from tests.services.moto_server import MotoServer

RETENTION = (
    b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
    b"<Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """An emulator of its own."""
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


def content(body: bytes) -> Content:
    """A request's body."""
    return Content(memoryview(body), hashlib.sha256(body).digest())


@pytest.mark.parametrize("checksum", ["md5", "sha256"])
def test_locked_bucket(server: MotoServer, checksum: str) -> None:
    """What ransomware must not remove: uploads go in, locks come off, and every version stays."""
    keys = {"access-key-id": server.s3_key, "secret-access-key": server.s3_secret}
    backend = S3Backend.open(f"{server.url}/locked/p", {**keys, "checksum": checksum})
    client = backend._client
    with client.request("make", "PUT", headers={"x-amz-bucket-object-lock-enabled": "true"}):
        pass
    with client.request("lock", "PUT", query=[("object-lock", "")], content=content(RETENTION)):
        pass
    with pytest.raises(RefusedError, match="Content-MD5"), client.request("save", "PUT", "x", content=content(b"x")):
        pass  # such a bucket takes nothing without a checksum

    backend.create()
    (lock,) = save_all(backend, FileKind.LOCK, [b"a lock"])
    (pack,) = save_all(backend, FileKind.PACK, [b"a pack"])
    with client.request("stat", "HEAD", f"p/locks/{lock.name}") as answer:
        version = answer.headers["x-amz-version-id"]
        assert answer.headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    backend.remove(lock)
    with pytest.raises(MissingFileError):
        backend.stat(lock)
    assert list(backend.list(FileKind.LOCK)) == []
    that_one = [("versionId", version)]
    with pytest.raises(RefusedError) as caught, client.request("", "DELETE", f"p/locks/{lock.name}", query=that_one):
        pass
    assert caught.value.permanent
    backend.save(pack, content_of(b"a pack"))  # a save that is repeated, its answer lost
    assert backend.load(pack) == b"a pack"
    backend.close()
