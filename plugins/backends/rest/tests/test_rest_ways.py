"""The ways to a REST server and what it refuses: sockets, passwords, certificates, versions of its API, its errors."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind, Handle
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, StorageFullError, UsageError
from limpet.registry.opening import open_backend
from limpet.storage.retry import RetryBackend
from limpet.testing.backend import MIB, content_of, handle_of, save_all, some_bytes
from limpet.testing.certificates import identity
from limpet_backend_rest import RestBackend

from tests.services.fault_proxy import CUT_BODY, LOST_ANSWER, WHOLE_BODY, FaultProxy, status
from tests.services.fixed_answer import FixedAnswer
from tests.services.process import PEERS, ServerProcess, free_port, program
from tests.services.rest_server import RestServer, certificate_bundle
from tests.services.rest_v1 import VersionOneProxy
from tests.services.slow_reader import BODY_BYTES, LIMIT_S, SlowReader

PASSWORD = "a secret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """Anybody may do anything."""
    server = RestServer(tmp_path_factory.mktemp("rest"))
    yield server
    server.close()


@pytest.fixture
def backend(server: RestServer, tmp_path: Path) -> Iterator[RestBackend]:
    """A new repository on it."""
    backend = RestBackend.open(server.url(tmp_path.name), {})
    backend.create()
    yield backend
    backend.close()


def through(port: int, backend: RestBackend, connections: int = 5) -> RestBackend:
    """The same repository by way of a proxy."""
    return RestBackend.open(f"http://127.0.0.1:{port}{backend.place.path}/", {"connections": connections})


# -- ways in


@pytest.mark.parametrize("form", ["http+unix://{}:/repository/", "unix://{}:/repository", "unix://{}:"])
def test_unix_socket(tmp_path: Path, form: str) -> None:
    """A server that only a unix socket leads to is of use to nobody else on the machine."""
    server = RestServer(tmp_path, on_socket=True)
    try:
        backend = RestBackend.open(form.format(server.socket_path), {})
        backend.create()
        contents = [some_bytes(size) for size in (0, 1, 300_000, 3 * MIB)]
        handles = save_all(backend, FileKind.PACK, contents)
        assert [backend.load(handle) for handle in handles] == contents
        assert backend.load(handles[2], 77, 1000) == contents[2][77:1077]
        backend.remove(handles[0])
        assert {info.name for info in backend.list(FileKind.PACK)} == {handle.name for handle in handles[1:]}
        again = RestBackend.open(backend.location.removeprefix("rest:"), {})
        assert again.load(handles[1]) == contents[1]
    finally:
        server.close()
    with pytest.raises(BackendError, match="socket") as caught:
        backend.stat(handles[1])
    assert not caught.value.permanent


@pytest.mark.parametrize("prefix", ["RESTIC_", "LIMPET_"])
def test_credentials_out_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """A password in the location shows in the list of processes; the variables are the other way."""
    server = RestServer(tmp_path, users={"ann": PASSWORD})
    try:
        monkeypatch.setenv(f"{prefix}REST_USERNAME", "ann")
        monkeypatch.setenv(f"{prefix}REST_PASSWORD", PASSWORD)
        backend = open_backend(f"rest:{server.url('repository')}")
        backend.create()
        assert list(backend.list(FileKind.PACK)) == []
        refused = open_backend(f"rest:{server.url('repository', 'ann:of-the-location')}")
        with pytest.raises(BackendError, match=r"401.*RESTIC_REST_PASSWORD") as caught:
            list(refused.list(FileKind.PACK))
        assert caught.value.permanent
        assert "of-the-location" not in str(caught.value) + refused.location
    finally:
        server.close()


def test_whom_to_trust(tmp_path: Path) -> None:
    """A certificate that nobody vouches for ends the run with the way out, and never after 15 minutes of trying."""
    own = identity("server")
    server = RestServer(tmp_path, identity=own)
    try:
        with pytest.raises(BackendError, match=r"certificate is not trusted.*--cacert") as caught:
            RestBackend.open(server.url("repository"), {}).create()
        assert caught.value.permanent
        trusting = Transport(root_certificates=(certificate_bundle(tmp_path, own),))
        for transport in (trusting, Transport(verify_tls=False)):
            backend = RestBackend.open(server.url("repository"), {}, transport)
            backend.create()
            backend.close()
        with pytest.raises(BackendError, match="HTTP request to an HTTPS server") as caught:
            RestBackend.open(server.url("repository").replace("https", "http"), {}).create()
        assert caught.value.permanent
    finally:
        server.close()


def test_tls_to_a_server_without(server: RestServer) -> None:
    """An `s` too many in the location is said, not tried again for 15 minutes."""
    with pytest.raises(BackendError, match="speaks no TLS") as caught:
        RestBackend.open(server.url("repository").replace("http", "https"), {}).create()
    assert caught.value.permanent


def test_client_certificate(tmp_path: Path) -> None:
    """A server may ask for a certificate of the client's: with the right one it works, without it is refused."""
    own, client, port = identity("server"), identity("client"), free_port()
    for name, data in (("server.pem", own.certificate), ("server.key", own.key_pem()), ("ca.pem", client.certificate)):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "files").mkdir()
    command: list[str | Path] = [
        program("rclone", PEERS),
        "serve",
        "restic",
        "--addr",
        f"127.0.0.1:{port}",
        tmp_path / "files",
    ]
    command += ["--cert", tmp_path / "server.pem", "--key", tmp_path / "server.key", "--client-ca", tmp_path / "ca.pem"]
    environment = {"RCLONE_CONFIG": str(tmp_path / "rclone.conf")}
    location, roots = f"https://127.0.0.1:{port}/", (certificate_bundle(tmp_path, own),)
    with ServerProcess(command, tmp_path / "rclone.log", environment).wait_for_port(port):
        shown = Transport(root_certificates=roots, client_certificate=client.write(tmp_path / "client.pem"))
        backend = RestBackend.open(location, {}, shown)
        backend.create()
        (handle,) = save_all(backend, FileKind.KEY, [b"a key"])
        assert backend.load(handle) == b"a key"
        backend.close()
        with pytest.raises(BackendError, match=r"TLS failed.*certificate") as caught:
            RestBackend.open(location, {}, Transport(root_certificates=roots)).stat(handle)
        assert caught.value.permanent


def test_servers_of_the_first_version(server: RestServer, backend: RestBackend) -> None:
    """A server that names files without their sizes is asked for each; packs without sizes are none."""
    proxy = VersionOneProxy(server.port)
    try:
        old = through(proxy.port, backend)
        contents = [b"one", b"three", b""]
        save_all(old, FileKind.SNAPSHOT, contents)
        listed = {info.name: info.size_bytes for info in old.list(FileKind.SNAPSHOT)}
        assert listed == {handle_of(data).name: len(data) for data in contents}
        assert list(old.list(FileKind.LOCK)) == []
        for info in old.list(FileKind.SNAPSHOT):  # removed meanwhile
            for data in contents:
                if handle_of(data).name != info.name:
                    backend.remove(handle_of(data, FileKind.SNAPSHOT))
            contents = []
    finally:
        proxy.close()


# -- what a server refuses


def test_append_only(tmp_path: Path) -> None:
    """Such a server keeps all but the locks: a stolen password removes nothing, and backups go on."""
    server = RestServer(tmp_path, "--append-only")
    try:
        backend = RestBackend.open(server.url("repository"), {})
        backend.create()
        pack, lock = save_all(backend, FileKind.PACK, [b"a pack"]) + save_all(backend, FileKind.LOCK, [b"a lock"])
        backend.remove(lock)
        with pytest.raises(BackendError, match="403") as caught:
            backend.remove(pack)
        assert caught.value.permanent
        assert backend.load(pack) == b"a pack"
        with FaultProxy(server.port) as proxy:  # saved, and the answer lost: it must not be refused the second time
            proxy.inject(LOST_ANSWER, times=1, when=lambda request: request.writes)
            patient = RetryBackend(through(proxy.port, backend), first_pause_s=0.01)
            (handle,) = save_all(patient, FileKind.PACK, [b"a pack whose answer is lost"])
            assert patient.load(handle) == b"a pack whose answer is lost"
            patient.close()
    finally:
        server.close()


def test_no_space_left(tmp_path: Path) -> None:
    """A full server ends the backup at once with that reason: no retry makes it any larger."""
    server = RestServer(tmp_path, "--max-size", "100000")
    try:
        backend = RestBackend.open(server.url("repository"), {})
        backend.create()
        save_all(backend, FileKind.PACK, [b"small enough"])
        with pytest.raises(StorageFullError, match=r"507.*no space left") as caught:
            save_all(backend, FileKind.PACK, [some_bytes(200_000)])
        assert caught.value.permanent
        with pytest.raises(BackendError, match="507"):  # refused while most of it is still to be sent
            save_all(backend, FileKind.PACK, [some_bytes(40 * MIB)])
        assert len(list(backend.list(FileKind.PACK))) == 1
    finally:
        server.close()


def test_large_file_that_is_there(backend: RestBackend) -> None:
    """The refusal comes before the last byte is sent, and is told as what it is instead of as a broken connection."""
    data = some_bytes(40 * MIB)
    save_all(backend, FileKind.PACK, [data])
    with pytest.raises(BackendError, match=r"403.*there already") as caught:
        save_all(backend, FileKind.PACK, [data])
    assert caught.value.permanent


def test_content_that_is_not_what_its_name_says(backend: RestBackend) -> None:
    """What was damaged on its way is refused by the server and sent again, for it may well arrive the next time."""
    with pytest.raises(BackendError, match="400") as caught:
        backend.save(handle_of(b"the name of others"), content_of(b"these bytes"))
    assert not caught.value.permanent
    assert list(backend.list(FileKind.PACK)) == []


def test_a_path_that_no_repository_has(server: RestServer) -> None:
    """Too many folders: said at once, with the reason."""
    with pytest.raises(BackendError, match=r"404.*path") as caught:
        RestBackend.open(server.url("a/b/c/d"), {}).create()
    assert caught.value.permanent


def test_a_server_that_is_none(tmp_path: Path) -> None:
    """A web server at the location answers as well; it is not taken for an empty repository."""
    (tmp_path / "locks").mkdir()
    port = free_port()
    command: list[str | Path] = [program("rclone", PEERS), "serve", "http", "--addr", f"127.0.0.1:{port}", tmp_path]
    environment = {"RCLONE_CONFIG": str(tmp_path / "rclone.conf")}
    with ServerProcess(command, tmp_path / "rclone.log", environment).wait_for_port(port):
        backend = RestBackend.open(f"http://127.0.0.1:{port}/", {})
        with pytest.raises(BackendError, match="is it a REST server") as caught:
            list(backend.list(FileKind.LOCK))
        assert caught.value.permanent
        with pytest.raises(BackendError) as caught:
            backend.save(CONFIG_HANDLE, content_of(b"a config"))
        assert caught.value.permanent
        backend.close()


# -- what the network does


def test_bodies_that_are_cut_or_too_long(server: RestServer, backend: RestBackend) -> None:
    """Half a body, or the whole file for a range, is an error that is tried again, never data."""
    data = some_bytes(200_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    with FaultProxy(server.port) as proxy:
        spoiled = through(proxy.port, backend)
        for fault in (CUT_BODY, WHOLE_BODY):
            proxy.inject(fault, when=lambda request: request.reads)
            buffer = bytearray(100)
            for load in (
                lambda: spoiled.load(handle, 5, 100),
                lambda buffer=buffer: spoiled.load_into(handle, 5, memoryview(buffer)),
            ):
                with pytest.raises(BackendError, match=r"answer (ended|is)") as caught:
                    load()
                assert not caught.value.permanent
            proxy.heal()
        assert spoiled.load(handle, 5, 100) == data[5:105]
        spoiled.close()


def test_body_without_an_end_of_its_own() -> None:
    """Such a body may be cut and look whole: its length is asked for, and half a listing is asked for again."""
    answer = FixedAnswer(b"[half of a file")
    answer.tells_length = False
    with answer.running() as url:
        backend = RestBackend.open(f"{url}/repository/", {"connections": 1})
        with pytest.raises(BackendError):
            backend.load(handle_of(b"x"))
        with pytest.raises(BackendError, match="ended in its middle") as caught:
            list(backend.list(FileKind.PACK))
        assert not caught.value.permanent
        backend.close()


def test_redirections_are_told_in_plain_letters() -> None:
    """What a server says must not reach the terminal as commands for it."""
    answer = FixedAnswer(b"", 301, {"Location": "http://other/\x1b[2J"})
    with answer.running() as url:
        backend = RestBackend.open(f"{url}/", {}, Transport())
        with pytest.raises(BackendError, match=r"go to http://other/\?\[2J: give that") as caught:
            backend.load(CONFIG_HANDLE)
        backend.close()
    assert caught.value.permanent


def test_connections_are_kept_alive(backend: RestBackend) -> None:
    """Routers forget silent connections: the next request over one would hang until its time limit."""
    (connection,) = backend._pool._idle
    assert connection._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_statuses(server: RestServer, backend: RestBackend) -> None:
    """What may pass is tried again, after as long as the server asks for; what will not is not."""
    with FaultProxy(server.port) as proxy:
        asking = through(proxy.port, backend)
        for code, is_permanent in ((408, False), (429, False), (500, False), (502, False), (503, False), (403, True)):
            proxy.inject(status(code, retry_after_s=7), times=1)
            with pytest.raises(BackendError, match=str(code)) as caught:
                asking.stat(CONFIG_HANDLE)
            assert caught.value.permanent == is_permanent
            assert caught.value.retry_after_s == 7
        assert proxy.accepted == 1
        asking.close()


def test_an_upload_may_take_longer_than_the_time_limit(tmp_path: Path) -> None:
    """A slow line is not a stuck request: over one, no pack would ever arrive."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(identity("server").write(tmp_path / "server.pem"))
    with SlowReader(tls) as server:
        transport = Transport(stuck_request_timeout_s=LIMIT_S, verify_tls=False)
        backend = RestBackend.open(f"https://127.0.0.1:{server.port}/repository/", {}, transport)
        save_all(backend, FileKind.PACK, [some_bytes(BODY_BYTES)])
        backend.close()


def test_connections_are_few_and_closed(server: RestServer, backend: RestBackend) -> None:
    """A client that opens a connection for each request runs out of ports; one that closes none leaves them behind."""
    with FaultProxy(server.port) as proxy:
        many = through(proxy.port, backend, connections=3)
        (handle,) = save_all(many, FileKind.PACK, [some_bytes(5_000)])
        absent = handle_of(b"not there")

        def work(number: int) -> None:
            if number % 3:
                assert len(many.load(handle, number, 100)) == 100
            else:
                with pytest.raises(MissingFileError):
                    many.load(absent)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(work, range(600)))
        assert proxy.accepted <= 3
        many.close()
        ended = threading.Event()
        while proxy.open_now:
            assert not ended.wait(0.01)
        with pytest.raises(BackendError, match="closed"):
            many.stat(handle)


def test_server_that_was_started_anew(tmp_path: Path) -> None:
    """The connections of before are dead; the next request takes a new one and does not fail."""
    server = RestServer(tmp_path, on_socket=True)
    backend = RestBackend.open(server.url("repository"), {})
    backend.create()
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    server.close()
    again = RestServer(tmp_path, on_socket=True)
    try:
        assert backend.load(handle) == b"a pack"
        backend.close()
    finally:
        again.close()


# -- locations


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:8000", "rest:http://host:8000/"),
        ("https://host/a/b/", "rest:https://host/a/b/"),
        ("http://ann@host/", "rest:http://ann@host/"),
        ("http://ann:secret@host:80/", "rest:http://ann:***@host/"),
        ("http://ann:se%2Fcret%40@[::1]:8000/a b/ü", "rest:http://ann:***@[::1]:8000/a%20b/%C3%BC/"),
        ("http+unix:///tmp/s.sock:/a/", "rest:http+unix:///tmp/s.sock:/a/"),
        ("unix:///tmp/s.sock:/a", "rest:http+unix:///tmp/s.sock:/a/"),
    ],
)
def test_locations(text: str, shown: str) -> None:
    """restic's locations are understood, and shown without their password."""
    assert RestBackend.open(text, {}).location == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:8000/secret",
        "ftp://ann:secret@host/",
        "http://",
        "http://ann:secret@:8000/",
        "http://ann:secret@host:port/",
        "http://ann:sec/ret@host/",
        "http://ann:secret@[::1/",
        "http://host/secret?x=1",
        "http://host/secret#x",
        "http+unix://secret",
        "http+unix:///tmp/a%00b:/",
        "http+unix:///" + "a" * 200 + ":/",
        "http://no..host/",
        "http://host/secret\r\nX: y",
    ],
)
def test_locations_that_are_none(text: str) -> None:
    """One line says what is wrong, and does not print what may be a password."""
    with pytest.raises(UsageError) as caught:
        RestBackend.open(text, {})
    assert "secret" not in str(caught.value)
    assert "sec/" not in str(caught.value)


def test_connections_must_be_a_number() -> None:
    """None at all would wait for ever."""
    with pytest.raises(UsageError, match=r"rest\.connections"):
        RestBackend.open("http://host/", {"connections": 0})
    assert RestBackend.open("http://host/", {"connections": 9}).properties.connections == 9


def test_user_agent_reaches_the_server(server: RestServer, backend: RestBackend) -> None:
    """An administrator finds the program in the log by the name that was given."""
    with FaultProxy(server.port) as proxy:
        named = RestBackend.open(
            f"http://127.0.0.1:{proxy.port}{backend.place.path}/", {}, Transport(user_agent="night-run/2")
        )
        with pytest.raises(MissingFileError):
            named.stat(Handle(FileKind.KEY, "0" * 64))
        assert proxy.requests[0].headers["user-agent"] == "night-run/2"
        named.close()
