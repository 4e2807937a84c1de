"""Answers of services, and of what is in between, that are not as they should be: none of them passes for data."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from limpet.contracts.backend import Backend, Content, FileKind
from limpet.contracts.transport import Transport
from limpet.errors import BackendError
from limpet.registry.opening import open_backend
from limpet.testing.backend import content_of, handle_of, save_all, some_bytes
from limpet_backend_s3 import S3Backend

from tests.services.fixed_answer import FixedAnswer
from tests.services.rclone_s3 import RcloneS3Server

OPTIONS = {"s3.access-key-id": RcloneS3Server.s3_key, "s3.secret-access-key": RcloneS3Server.s3_secret}
PACK = handle_of(b"x")


@contextmanager
def answering(answer: FixedAnswer) -> Iterator[Backend]:
    """A backend to which each request is answered so."""
    with answer.running() as url:
        backend = open_backend(f"s3:{url}/bucket/folder", OPTIONS)
        yield backend
        backend.close()


def refusal(code: str) -> bytes:
    """The body of a refusal by Amazon's rules."""
    return f"<Error><Code>{code}</Code></Error>".encode()


@pytest.mark.parametrize("is_ours", [True, False])
def test_upload_that_changed(is_ours: bool) -> None:
    """A bit that a network turned is sent again; one that the memory turned would never be accepted."""
    content = content_of(some_bytes(1000)) if is_ours else Content(memoryview(b"turned"), bytes(32))
    with (
        answering(FixedAnswer(refusal("BadDigest"), 400)) as backend,
        pytest.raises(BackendError, match="BadDigest") as caught,
    ):
        backend.save(PACK, content)
    assert caught.value.permanent is not is_ours


def test_body_without_an_end_of_its_own() -> None:
    """Such a body may be cut and look whole: its length is asked for."""
    answer = FixedAnswer(b"half of a file")
    answer.tells_length = False
    with answering(answer) as backend, pytest.raises(BackendError):
        backend.load(PACK)


def test_body_longer_than_the_range() -> None:
    """What is longer than the range is another one than was asked for."""
    answer = FixedAnswer(b"12345678", 206, {"Content-Range": "bytes 0-3/100"})
    with answering(answer) as backend:
        with pytest.raises(BackendError, match="sent more"):
            backend.load_into(PACK, 0, memoryview(bytearray(4)))
        with pytest.raises(BackendError, match="8 bytes came of 4"):
            backend.load(PACK, 0, 4)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("<Contents><Key>elsewhere/x</Key><Size>1</Size></Contents>", "not asked for"),
        ("<IsTruncated>true</IsTruncated>", "list-objects-v1"),
        ("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>", "again and again"),
    ],
)
def test_listings_that_lead_nowhere(rest: str, says: str) -> None:
    """Half a listing, or an empty one, makes prune take what is in use for unused; an endless one never ends."""
    body = f"<ListBucketResult>{rest}</ListBucketResult>".encode()
    with answering(FixedAnswer(body)) as backend, pytest.raises(BackendError, match=says) as caught:
        list(backend.list(FileKind.PACK))
    assert caught.value.permanent


def test_tls_to_a_service_without() -> None:
    """An `s` too many in the location is said, not tried again for 15 minutes."""
    with FixedAnswer(b"").running() as url:
        backend = open_backend(f"s3:{url.replace('http:', 'https:')}/bucket", OPTIONS)
        with pytest.raises(BackendError, match="speaks no TLS") as caught:
            backend.stat(PACK)
        backend.close()
    assert caught.value.permanent


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_that_wants_to_know_who_asks(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Such a proxy is told, and one that is not content with that ends the run at once."""
    answer = FixedAnswer(b"", 407)
    with answer.running() as url:
        monkeypatch.setenv(f"{scheme}_proxy", url.replace("http://", "http://me:my%20word@"))
        backend = open_backend(f"s3:{scheme}://s3.example/bucket", OPTIONS)
        with pytest.raises(BackendError, match="407") as caught:
            backend.load(PACK)
        backend.close()
    assert caught.value.permanent
    assert "my" not in str(caught.value)
    ((_, _, headers),) = answer.requests
    assert headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:my word").decode()


def test_connections_are_kept_alive(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Routers forget silent connections: the next request over one would hang until its time limit."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        backend = S3Backend.open(
            f"{server.url}/bucket", {name.removeprefix("s3."): value for name, value in OPTIONS.items()}, Transport()
        )
        backend.create()
        save_all(backend, FileKind.PACK, [b"a pack"])
        (pool,) = (backend._client._http.pools[key] for key in backend._client._http.pools.keys())  # noqa: SIM118
        assert pool.pool is not None
        kept = [connection for connection in pool.pool.queue if connection is not None]
        assert kept
        assert all(connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) for connection in kept)
        backend.close()
