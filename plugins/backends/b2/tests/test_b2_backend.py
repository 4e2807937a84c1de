"""The B2 backend against the conformance suite, on b2sdk's simulator: keys, versions, tokens, failures."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.testing.backend import BackendConformance, content_of, handle_of, save_all, some_bytes
from limpet.testing.certificates import identity
from limpet_backend_b2 import B2Backend
from limpet_backend_b2.location import parse_location

from tests.services.b2_server import B2Server
from tests.services.fixed_answer import FixedAnswer
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
    return {"account-id": server.key_id, "account-key": server.key, "realm": server.url, **other}


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
        return open_b2(self.server, bucket_of(backend), **{"account-key": "not the key"})

    def open_missing_store(self, backend: Backend) -> Backend:
        return open_b2(self.server, "no-such-bucket")

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return open_b2(self.server, bucket_of(backend), realm=f"http://127.0.0.1:{free_port()}")

    def open_read_only(self, backend: Backend) -> Backend:
        key_id, key = self.server.make_key(("listBuckets", "listFiles", "readFiles"))
        return open_b2(self.server, bucket_of(backend), **{"account-id": key_id, "account-key": key})


@pytest.fixture
def backend(server: B2Server, bucket: str) -> Iterator[B2Backend]:
    """A created one, opened by the owner of the account."""
    backend = open_b2(server, bucket)
    backend.create()
    yield backend
    backend.close()


@pytest.fixture
def bucket_id(server: B2Server, backend: B2Backend) -> str:
    """The id of the bucket that `backend` has made."""
    found = server.call("list_buckets", accountId=server.key_id, bucketName=bucket_of(backend))
    return str(found["buckets"][0]["bucketId"])


def test_restricted_key(server: B2Server, bucket: str, backend: B2Backend, bucket_id: str) -> None:
    """A key for one bucket and prefix, which may not even list buckets, is the one that people should use."""
    key_id, key = server.make_key(bucket_id=bucket_id, prefix=f"{PREFIX}/")
    restricted = open_b2(server, bucket, **{"account-id": key_id, "account-key": key})
    restricted.create()
    restricted.save(CONFIG_HANDLE, content_of(b"the config"))
    handles = save_all(restricted, FileKind.PACK, [b"one", b"two"])
    assert restricted.load(handles[0], 1, 2) == b"ne"
    assert {info.name for info in restricted.list(FileKind.PACK)} == {handle.name for handle in handles}
    restricted.remove(handles[0])
    restricted.delete()
    assert server.versions(bucket_id) == []
    elsewhere = B2Backend.open(f"{bucket}:elsewhere", options_of(server, **{"account-id": key_id, "account-key": key}))
    with pytest.raises(BackendError, match=r"may not do that.*restricted to files that start with") as caught:
        elsewhere.save(CONFIG_HANDLE, content_of(b"the config"))
    assert caught.value.permanent
    other = open_b2(server, "another-bucket", **{"account-id": key_id, "account-key": key})
    with pytest.raises(BackendError, match=f"for the bucket '{bucket}', not for 'another-bucket'") as caught:
        other.stat(CONFIG_HANDLE)
    assert caught.value.permanent


def test_removed_for_good(server: B2Server, backend: B2Backend, bucket_id: str) -> None:
    """An older version that comes back when the newest is removed is a lock or a config that is alive again."""
    handle = handle_of(b"the name", FileKind.LOCK)
    for data in (b"first", b"second", b"third"):
        backend.save(handle, content_of(data))
    assert backend.load(handle) == b"third"
    assert server.versions(bucket_id) == [(name_of(handle), "upload")] * 3
    backend.remove(handle)
    assert server.versions(bucket_id) == []


@pytest.mark.parametrize("way", ["option", "key"])
def test_hidden_files(server: B2Server, bucket: str, backend: B2Backend, bucket_id: str, way: str) -> None:
    """Whoever steals a key that can only hide cannot destroy a backup; the files must still look removed."""
    if way == "option":
        hiding = open_b2(server, bucket, delete="hide")
    else:
        key_id, key = server.make_key(("listBuckets", "listFiles", "readFiles", "writeFiles"))
        hiding = open_b2(server, bucket, **{"account-id": key_id, "account-key": key})
    handle, kept = save_all(hiding, FileKind.SNAPSHOT, [b"removed", b"kept"])
    hiding.remove(handle)
    assert server.versions(bucket_id, name_of(handle)) == [(name_of(handle), "hide"), (name_of(handle), "upload")]
    for one in (hiding, backend):
        assert [info.name for info in one.list(FileKind.SNAPSHOT)] == [kept.name]
        for call in (one.stat, one.load, one.remove):
            with pytest.raises(MissingFileError):
                call(handle)
    hiding.save(handle, content_of(b"removed"))
    assert backend.load(handle) == b"removed"
    hiding.delete()
    assert list(backend.list(FileKind.SNAPSHOT)) == []
    assert len(server.versions(bucket_id)) == 6
    backend.delete()
    assert server.versions(bucket_id) == []


def test_delete_leaves_what_is_not_ours(server: B2Server, backend: B2Backend, bucket_id: str) -> None:
    """A bucket holds other things beside a repository."""
    strangers = ["another/config", f"{PREFIX}/config.txt", f"{PREFIX}/data/00/README", f"{PREFIX}2/config"]
    for name in strangers:
        server.write(bucket_id, name, b"mine")
    backend.save(CONFIG_HANDLE, content_of(b"the config"))
    save_all(backend, FileKind.PACK, [b"one", b"two"])
    backend.delete()
    assert sorted(name for name, _ in server.versions(bucket_id)) == sorted(strangers)


def test_sweep_cancels_unfinished_uploads(server: B2Server, backend: B2Backend, bucket_id: str) -> None:
    """Parts of uploads that broke off are billed for ever, and shown by no listing of files."""
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    for name in (f"{PREFIX}/data/00/" + "0" * 64, "elsewhere"):
        server.call(
            "start_large_file", bucketId=bucket_id, fileName=name, contentType="application/octet-stream", fileInfo={}
        )
    assert [info.name for info in backend.list(FileKind.PACK)] == [handle.name]
    assert backend.sweep() == 1
    assert sorted(server.versions(bucket_id)) == [(name_of(handle), "upload"), ("elsewhere", "start")]


def test_tokens_expire(server: B2Server, backend: B2Backend) -> None:
    """Tokens live for a day: a backup that takes longer must not end with it."""
    contents = [some_bytes(1000, seed=number) for number in range(10)]
    with ThreadPoolExecutor(5) as pool:  # leaves several addresses for uploads behind, each with its token
        list(pool.map(lambda data: backend.save(handle_of(data), content_of(data)), contents))
    for call in (
        lambda: backend.save(handle_of(b"new"), content_of(b"new")),
        lambda: backend.load(handle_of(contents[0])),
        lambda: backend.load(handle_of(contents[0]), 5, 5),
        lambda: backend.stat(handle_of(contents[0])),
        lambda: list(backend.list(FileKind.PACK)),
        lambda: backend.remove(handle_of(contents[1])),
    ):
        server.expire_tokens()
        call()
    assert len(list(backend.list(FileKind.PACK))) == 10


def test_keys_that_do_not_fit(server: B2Server, bucket: str, backend: B2Backend) -> None:
    """A key that may not do this, or is none, is told as that, at once: tried again it looks like a bad network."""
    key_id, key = server.make_key()
    other = open_b2(server, bucket, **{"account-id": key_id, "account-key": key})
    with pytest.raises(BackendError, match="may not do that"):
        other.stat(CONFIG_HANDLE)  # it may not look for buckets
    wrong = open_b2(server, bucket, **{"account-id": key_id, "account-key": "withdrawn"})
    with pytest.raises(BackendError, match=f"does not accept the application key '{key_id}'") as caught:
        wrong.stat(CONFIG_HANDLE)
    assert caught.value.permanent


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_failures_of_the_service(server: B2Server, backend: B2Backend, status: int) -> None:
    """The service says 503 by design where an upload has to go to another machine: the core, nobody else, retries."""
    handle = handle_of(b"a pack")
    server.fail("/upload/", count=1, status=status)
    before = server.stats()["requests"]
    with pytest.raises(BackendError) as caught:
        backend.save(handle, content_of(b"a pack"))
    assert not caught.value.permanent
    assert caught.value.retry_after_s == (7 if status in {429, 500, 503} else None)
    assert server.stats()["requests"] - before <= 4  # log in, the bucket's id, an address, one upload: no second try
    backend.save(handle, content_of(b"a pack"))
    server.fail("/file/", count=2, status=status)
    for call in (backend.load, backend.stat):
        with pytest.raises(BackendError) as caught:
            call(handle)
        assert not caught.value.permanent
    assert backend.load(handle) == b"a pack"


def test_answers_that_break_off(server: B2Server, backend: B2Backend) -> None:
    """Half an answer is no answer: as data it would be a damaged backup, as a listing one with lost packs."""
    data = some_bytes(100_000)
    handle = handle_of(data)
    backend.save(handle, content_of(data))
    for length in (None, 50_000):
        server.fail("/file/", count=1, status=0)
        with pytest.raises(BackendError) as caught:
            backend.load(handle, 0, length)
        assert not caught.value.permanent
    server.fail("/b2api/v4/b2_list_file_names", count=1, status=0)
    with pytest.raises(BackendError) as caught:
        list(backend.list(FileKind.PACK))
    assert not caught.value.permanent
    assert backend.load(handle) == data


def test_connections(server: B2Server, bucket: str) -> None:
    """A connection for each request exhausts the machine's ports; one that stays open after the end leaks."""
    before, threads = server.stats()["connections"], threading.active_count()
    backend = open_b2(server, bucket, connections=3)
    assert backend.properties.connections == 3
    backend.create()
    contents = [some_bytes(3000, seed=number) for number in range(60)]

    def work(data: bytes) -> None:
        backend.save(handle_of(data), content_of(data))
        assert backend.load(handle_of(data), 10, 100) == data[10:110]
        with pytest.raises(MissingFileError):
            backend.load(handle_of(data + b"!"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, contents))
    used = server.stats()["connections"] - before - 1  # the question itself has one
    assert used <= 3
    backend.close()
    assert threading.active_count() == threads


def test_transport(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the flags say about certificates, proxies and the program's name counts for this backend too."""
    certificate = identity("anybody", "api.backblazeb2.com").write(tmp_path / "anybody.pem")
    other = identity("other", "api.backblazeb2.com").write(tmp_path / "other.pem")
    server = B2Server(tmp_path, certificate)
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {server.key_id} password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def open_with(transport: Transport) -> B2Backend:
        return B2Backend.open(bucket, options_of(server, realm="production"), transport)

    try:
        for transport in (Transport(), Transport(root_certificates=[other])):
            with pytest.raises(BackendError, match=r"api\.backblazeb2\.com.*certificate") as caught:
                open_with(transport).create()
            assert caught.value.permanent
        open_with(Transport(verify_tls=False, user_agent="mine/1.0")).create()
        trusting = open_with(Transport(root_certificates=[certificate], client_certificate=certificate))
        with pytest.raises(MissingFileError):
            trusting.stat(CONFIG_HANDLE)
        stats = server.stats()
        assert "mine/1.0" in stats["agents"]
        assert stats["client certificates"] == 1
    finally:
        server.close()


def test_server_that_does_not_answer(bucket: str, server: B2Server) -> None:
    """A request that hangs holds up a backup for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        realm = f"http://127.0.0.1:{silent.getsockname()[1]}"
        backend = B2Backend.open(bucket, options_of(server, realm=realm), Transport(stuck_request_timeout_s=0.2))
        with pytest.raises(BackendError, match=r"127\.0\.0\.1:\d+: no answer in time") as caught:
            backend.stat(CONFIG_HANDLE)
    assert not caught.value.permanent


def test_answers_of_something_in_between(backend: B2Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache on the way that gives other bytes of the file, or does not say how many, must not have them taken."""
    (handle,) = save_all(backend, FileKind.PACK, [b"0123456789"])
    backend.stat(handle)
    other = FixedAnswer(b"0123", status=206, headers={"Content-Range": "bytes 0-3/10"})
    with other.running() as url:
        monkeypatch.setattr(backend._bucket._session, "get_download_url_by_name", lambda *_names: f"{url}/file/pack")
        with pytest.raises(BackendError, match="another range") as caught:
            backend.load(handle, 4, 4)
        assert not caught.value.permanent
        assert backend.load(handle, 0, 4) == b"0123"
        other.status, other.tells_length = 200, False
        with pytest.raises(BackendError, match="does not tell the size") as caught:
            backend.load(handle)
        assert not caught.value.permanent


def test_a_bucket_of_somebody_else(server: B2Server, bucket: str, backend: B2Backend, bucket_id: str) -> None:
    """Names of buckets are one for all accounts: that it is taken is nothing to wait for."""
    key_id, key = server.make_key(("listBuckets", "writeBuckets"), bucket_id=bucket_id)
    with pytest.raises(BackendError, match="not for 'taken-by-others'") as caught:
        open_b2(server, "taken-by-others", **{"account-id": key_id, "account-key": key}).create()
    assert caught.value.permanent


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("bucket-name", "config"),
        ("bucket-name:", "config"),
        ("bucket-name:/", "config"),
        ("bucket-name:a", "a/config"),
        ("bucket-name:/a//b/../c/", "a/c/config"),
    ],
)
def test_locations(location: str, name: str) -> None:
    """A prefix that restic takes for another one is another repository."""
    assert parse_location(location).path(CONFIG_HANDLE) == name


@pytest.mark.parametrize(
    ("location", "options", "message"),
    [
        ("", {}, "no bucket"),
        ("bucket-name/path", {}, "b2:BUCKET:PATH"),
        ("short", {}, "6 to 63"),
        ("under_score", {}, "letters, digits and dashes"),
        ("bucket-name:a\nb", {}, "can be called"),
        ("bucket-name:../x", {}, "can be called"),
        ("bucket-name:..", {}, "can be called"),
        ("bucket-name", {"account-id": None}, "B2_ACCOUNT_ID"),
        ("bucket-name", {"account-key": ""}, "B2_ACCOUNT_KEY"),
        ("bucket-name", {"connections": 0}, "from 1 on"),
        ("bucket-name", {"delete": "maybe"}, "auto"),
        ("bucket-name", {"realm": "ftp://x"}, "https://"),
    ],
)
def test_what_makes_no_sense(location: str, options: dict[str, Any], message: str) -> None:
    """A mistake in a location or an option is told before anything is asked of a server."""
    with pytest.raises(UsageError, match=message):
        B2Backend.open(location, {"account-id": "an id", "account-key": "a key", **options})
