"""Ways in and out of a bucket: keys, profiles, TLS, proxies, versions, pages, a wrong clock, a server that hangs."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from limpet.contracts.backend import Backend, Content, FileKind, Handle
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.registry.opening import open_backend
from limpet.testing.backend import content_of, handle_of, save_all, some_bytes
from limpet.testing.certificates import Identity, identity
from limpet_backend_s3 import S3Backend

from tests.services.process import program
from tests.services.rclone_s3 import RcloneS3Server
from tests.services.slow_reader import BODY_BYTES, LIMIT_S, SlowReader
from tests.services.swift_server import SwiftServer

KEYS = {"AWS_ACCESS_KEY_ID": RcloneS3Server.s3_key, "AWS_SECRET_ACCESS_KEY": RcloneS3Server.s3_secret}
VARIABLES = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION"),
    *("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    *("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "http_proxy", "HTTP_PROXY"),
)


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """Swift with pages of five objects."""
    with SwiftServer(tmp_path_factory.mktemp("swift") / "server", page=5) as server:
        yield server


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """rclone with plain HTTP."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """None of the caller's keys, and a home without files of Amazon's tools."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def location(server: SwiftServer | RcloneS3Server) -> str:
    """A bucket of its own that is not there yet."""
    return f"s3:{server.url}/b{uuid4().hex}/p"


def works(backend: Backend) -> None:
    """Assert that files go in and out."""
    try:
        backend.create()
        (handle,) = save_all(backend, FileKind.INDEX, [b"an index"])
        assert backend.load(handle) == b"an index"
        assert [info.name for info in backend.list(FileKind.INDEX)] == [handle.name]
        backend.remove(handle)
    finally:
        backend.close()


# -- keys


def test_keys_of_the_environment(rclone: RcloneS3Server, environment: pytest.MonkeyPatch) -> None:
    """restic's users have their keys in these variables."""
    for name, value in KEYS.items():
        environment.setenv(name, value)
    works(open_backend(location(rclone)))
    environment.setenv("AWS_SESSION_TOKEN", "temporary")  # is signed with the rest
    works(open_backend(location(rclone)))


@pytest.mark.parametrize("names", [("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"), ("AWS_ACCESS_KEY", "AWS_SECRET_KEY")])
def test_other_names_of_the_keys(
    rclone: RcloneS3Server, environment: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    """restic takes these too."""
    for name, value in zip(names, KEYS.values(), strict=True):
        environment.setenv(name, value)
    works(open_backend(location(rclone)))


@pytest.mark.parametrize(
    ("files", "profile"),
    [
        (("[default]\n{keys}", ""), None),
        (("[other]\n{keys}", "[default]\nregion = x"), "other"),
        (("", "[profile work]\n{keys}\nregion = us-east-1"), "work"),
        (("", "[profile tool]\ncredential_process = {program}"), "tool"),
    ],
)
def test_profiles(
    rclone: RcloneS3Server, environment: pytest.MonkeyPatch, files: tuple[str, str], profile: str | None
) -> None:
    """Who uses Amazon's tools has keys in their files, and several sets of them."""
    home = Path.home()
    values = dict(zip(("aws_access_key_id", "aws_secret_access_key"), KEYS.values(), strict=True))
    answer = f'{{"AccessKeyId": "{rclone.s3_key}", "SecretAccessKey": "{rclone.s3_secret}"}}'
    (home / "answer.json").write_text(answer)
    folder = home / ".aws"
    folder.mkdir()
    for name, text in zip(("credentials", "config"), files, strict=True):
        keys = "\n".join(f"{key} = {value}" for key, value in values.items())
        (folder / name).write_text(text.format(keys=keys, program=f"cat {home}/answer.json"))
    if profile:
        environment.setenv("AWS_PROFILE", profile)
    works(open_backend(location(rclone)))


def test_files_elsewhere(rclone: RcloneS3Server, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Amazon's variables say where the files are; a profile of ours goes before AWS_PROFILE."""
    file = tmp_path / "keys"
    file.write_text(f"[p]\naws_access_key_id={rclone.s3_key}\naws_secret_access_key={rclone.s3_secret}\n")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    environment.setenv("AWS_PROFILE", "not there")
    works(open_backend(location(rclone), {"s3.profile": "p"}))
    with pytest.raises(UsageError, match="no profile 'not there'"):
        open_backend(location(rclone))


def test_no_keys(rclone: RcloneS3Server, environment: pytest.MonkeyPatch) -> None:
    """Without keys the way out is told before any request."""
    with pytest.raises(UsageError, match=r"AWS_ACCESS_KEY_ID.*unsafe-anonymous-auth"):
        open_backend(location(rclone))
    environment.setenv("AWS_ACCESS_KEY_ID", "K")
    with pytest.raises(UsageError, match="AWS_SECRET_ACCESS_KEY is empty"):
        open_backend(location(rclone))


def test_anonymous(tmp_path: Path, rclone: RcloneS3Server) -> None:
    """A bucket that is open to all is reached without keys, and only such a one."""
    with RcloneS3Server(tmp_path, for_all=True) as server:
        works(open_backend(location(server), {"s3.unsafe-anonymous-auth": "true"}))
    with open_backend_closing(location(rclone), {"s3.unsafe-anonymous-auth": "true"}) as backend:
        refusal = error_of(backend)
    assert refusal.permanent


class open_backend_closing:  # noqa: N801  # reads as the function it is
    """`open_backend` as a context."""

    def __init__(self, place: str, options: Mapping[str, str], transport: Transport | None = None) -> None:
        self.backend = open_backend(place, options, transport)

    def __enter__(self) -> Backend:
        return self.backend

    def __exit__(self, *_error: object) -> None:
        self.backend.close()


def error_of(backend: Backend) -> BackendError:
    """What a listing fails with."""
    with pytest.raises(BackendError) as caught:
        list(backend.list(FileKind.SNAPSHOT))
    return caught.value


OPTIONS = {"s3.access-key-id": RcloneS3Server.s3_key, "s3.secret-access-key": RcloneS3Server.s3_secret}


# -- TLS and proxies


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The PEM files, with their keys in them, of a server and of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    made: list[Identity] = [identity("server"), identity("client")]
    return Path(made[0].write(folder / "server.pem")), Path(made[1].write(folder / "client.pem"))


def test_tls(tmp_path: Path, certificates: tuple[Path, Path]) -> None:
    """A bucket behind an authority of one's own is reached, and an impostor is not."""
    certificate, client = certificates
    with RcloneS3Server(tmp_path, certificate=certificate) as server:
        place = location(server)
        works(open_backend(place, OPTIONS, Transport(root_certificates=[str(certificate)])))
        works(open_backend(place, OPTIONS, Transport(verify_tls=False)))
        for transport in (Transport(), Transport(root_certificates=[str(client)])):
            with open_backend_closing(place, OPTIONS, transport) as backend:
                error = error_of(backend)
            assert error.permanent
            assert "certificate" in str(error)


def test_client_certificate(tmp_path: Path, certificates: tuple[Path, Path]) -> None:
    """Some let in only who shows a certificate."""
    certificate, client = certificates
    with RcloneS3Server(tmp_path, certificate=certificate, client_authority=client) as server:
        trusted = [str(certificate)]
        works(open_backend(location(server), OPTIONS, Transport(trusted, client_certificate=str(client))))
        with open_backend_closing(location(server), OPTIONS, Transport(trusted)) as backend:
            error_of(backend)


def test_bucket_in_the_host_name(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """Some services know no other way; the name is resolved by a proxy, which is the server itself here."""
    with RcloneS3Server(tmp_path, "--force-path-style=false") as server:
        environment.setenv("http_proxy", server.url)
        works(open_backend("s3:http://s3.test/the-bucket/p", {**OPTIONS, "s3.bucket-lookup": "dns"}))
        assert (server.root / "the-bucket").is_dir()


# -- what is asked for


class Recorder(ThreadingHTTPServer):
    """A server that keeps the headers of each request and answers with the same status each time."""

    def __init__(self, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> None:
        seen: list[dict[str, str]] = []
        self.seen = seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                seen.append({**{k.lower(): v for k, v in self.headers.items()}, "body": body.decode()})
                self.send_response(status)
                for name, value in (*headers, ("Content-Length", "0")):
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_PUT = do_HEAD = do_DELETE = handle_one  # noqa: N815  # http.server's names

            def log_message(self, *_arguments: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def location(self) -> str:
        return f"s3:http://127.0.0.1:{self.server_port}/bucket"

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


PACK, INDEX = handle_of(b"x"), handle_of(b"x", FileKind.INDEX)
TREES = Handle(FileKind.PACK, PACK.name, is_tree_pack=True)


@pytest.mark.parametrize(
    ("storage_class", "handle", "expected"),
    [
        ("STANDARD_IA", INDEX, "STANDARD_IA"),
        ("DEEP_ARCHIVE", PACK, "DEEP_ARCHIVE"),
        ("DEEP_ARCHIVE", TREES, None),
        ("GLACIER", INDEX, None),
    ],
)
def test_storage_class(storage_class: str, handle: Handle, expected: str | None) -> None:
    """An index in an archive takes hours to read; contents may take them."""
    with (
        Recorder() as server,
        open_backend_closing(server.location, {**OPTIONS, "s3.storage-class": storage_class}) as backend,
    ):
        backend.save(handle, content_of(b"x"))
    assert server.seen[0].get("x-amz-storage-class") == expected


def test_what_an_upload_says(environment: pytest.MonkeyPatch) -> None:
    """Buckets with object lock take no upload without a checksum of its body."""
    environment.setenv("AWS_SESSION_TOKEN", "temporary")
    for checksum, header in (("auto", "content-md5"), ("sha256", "x-amz-checksum-sha256")):
        with (
            Recorder() as server,
            open_backend_closing(
                server.location, {**OPTIONS, "s3.checksum": checksum}, Transport(user_agent="me/1")
            ) as backend,
        ):
            backend.save(PACK, content_of(b"x"))
        (said,) = server.seen
        assert said["x-amz-content-sha256"] == hashlib.sha256(b"x").hexdigest()
        assert header in said
        assert said["user-agent"] == "me/1"
        assert said["x-amz-security-token"] == "temporary"
        assert said["body"] == "x"


def test_busy_server() -> None:
    """A server that asks for a pause gets it."""
    with Recorder(503, [("Retry-After", "3")]) as server, open_backend_closing(server.location, OPTIONS) as backend:
        error = error_of(backend)
    assert not error.permanent
    assert error.retry_after_s == 3


def test_server_that_hangs() -> None:
    """A request on which nothing moves ends, and may be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"s3:http://127.0.0.1:{silent.getsockname()[1]}/bucket"
        with open_backend_closing(place, OPTIONS, Transport(stuck_request_timeout_s=0.2)) as backend:
            error = error_of(backend)
    assert not error.permanent
    assert "did not answer in time" in str(error)


def test_an_upload_may_take_longer_than_the_time_limit() -> None:
    """A slow line is not a stuck request: over one, no pack would ever arrive."""
    with SlowReader() as server:
        place = f"s3:http://127.0.0.1:{server.port}/bucket"
        with open_backend_closing(place, OPTIONS, Transport(stuck_request_timeout_s=LIMIT_S)) as backend:
            save_all(backend, FileKind.PACK, [some_bytes(BODY_BYTES)])


def test_reasons_of_broken_connections() -> None:
    """Refused, unknown and cut are told apart: each has another way out."""
    with open_backend_closing("s3:http://127.0.0.1:1/bucket", OPTIONS) as backend:
        refusal = error_of(backend)
    with open_backend_closing("s3:http://no-such-host.invalid/bucket", OPTIONS) as backend:
        unknown = error_of(backend)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"s3:http://127.0.0.1:{server.getsockname()[1]}/bucket"
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
        Thread(target=answer_once, args=(server, answer), daemon=True).start()
        with open_backend_closing(place, OPTIONS) as backend:
            cut = error_of(backend)
    assert "cannot connect to 127.0.0.1:1: Connection refused" in str(refusal)
    assert "cannot connect to no-such-host.invalid" in str(unknown)
    assert "ended after 5 bytes, 95 were to come" in str(cut)
    assert not any(error.permanent or "\n" in str(error) for error in (refusal, unknown, cut))


def answer_once(server: socket.socket, answer: bytes) -> None:
    """Send the answer to the first request, and hang up."""
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(answer)


# -- on Swift


def on_swift(server: SwiftServer, **options: str) -> S3Backend:
    """A backend on a new bucket there."""
    keys = {"access-key-id": server.s3_key, "secret-access-key": server.s3_secret}
    backend = S3Backend.open(location(server).removeprefix("s3:"), {**keys, **options})
    backend.create()
    return backend


@pytest.mark.parametrize("version_1", [False, True])
def test_pages(swift: SwiftServer, version_1: bool) -> None:
    """Both versions of the listing go on after the first page: else prune takes files in use for unused ones."""
    backend = on_swift(swift, **({"list-objects-v1": "true"} if version_1 else {}))
    handles = save_all(backend, FileKind.PACK, [b"%d" % number for number in range(17)])
    assert sorted(info.name for info in backend.list(FileKind.PACK)) == sorted(handle.name for handle in handles)
    backend.close()


def test_bucket_with_versions(swift: SwiftServer) -> None:
    """In a bucket that keeps what is removed, a removed lock is gone for us and still there for its owner."""
    backend = on_swift(swift)
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    content = Content(memoryview(body), hashlib.sha256(body).digest())
    with backend._client.request("enable versions", "PUT", query=[("versioning", "")], content=content):
        pass
    (lock,) = save_all(backend, FileKind.LOCK, [b"a lock"])
    backend.remove(lock)
    with pytest.raises(MissingFileError):
        backend.stat(lock)
    assert list(backend.list(FileKind.LOCK)) == []
    with backend._client.request("list versions", "GET", query=[("versions", "")]) as answer:
        told = answer.read().decode()
    assert "<DeleteMarker>" in told
    assert told.count(lock.name) == 2
    backend.save(lock, content_of(b"a lock"))
    assert backend.load(lock) == b"a lock"
    backend.close()


def test_key_that_is_wrong(swift: SwiftServer) -> None:
    """An answer to HEAD says no reason: it has to be asked for, and it never shows the secret."""
    backend = S3Backend.open(
        location(swift).removeprefix("s3:"), {"access-key-id": swift.s3_key, "secret-access-key": "not this"}
    )
    with pytest.raises(BackendError, match="AWS_SECRET_ACCESS_KEY") as caught:
        backend.stat(INDEX)
    assert "not this" not in str(caught.value)
    backend.close()


def test_body_of_another_hash(swift: SwiftServer) -> None:
    """Bytes that changed on their way, or in memory, are refused by the server, and never stored."""
    backend = on_swift(swift)
    data = some_bytes(100_000)
    wrong = Content(memoryview(data), hashlib.sha256(b"something else").digest())
    with pytest.raises(BackendError) as caught:
        backend.save(PACK, wrong)
    assert caught.value.permanent
    with pytest.raises(MissingFileError):
        backend.stat(PACK)
    backend.close()


def test_wrong_clock(swift: SwiftServer) -> None:
    """Signatures hold for a quarter of an hour: with a wrong clock nothing works, and nobody looks there first."""
    limpet = program("limpet", Path(sys.executable).parent)
    keys = {"AWS_ACCESS_KEY_ID": swift.s3_key, "AWS_SECRET_ACCESS_KEY": swift.s3_secret, "LIMPET_PASSWORD": "x"}
    done = subprocess.run(
        [program("faketime"), "-f", "-2h", limpet, "-r", location(swift), "--no-cache", "snapshots"],
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert "the clock of this computer is 120 minutes behind the server's; set the clock" in done.stderr
    assert "Traceback" not in done.stderr
