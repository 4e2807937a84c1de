"""The Google backend against the conformance suite on fake-gcs-server, and each kind of credentials."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.contracts.options import Options
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.registry.opening import open_backend
from limpet.testing.backend import BackendConformance, content_of, save_all, some_bytes
from limpet.testing.certificates import identity
from limpet_backend_gs import GoogleBackend
from limpet_backend_gs.errors import refused
from limpet_backend_gs.location import parse_place

from tests.services.fault_proxy import (
    BLACK_HOLE,
    CUT_BODY,
    LOST_ANSWER,
    RESET,
    SHORT_BODY,
    WHOLE_BODY,
    Fault,
    FaultProxy,
    status,
)
from tests.services.gcs_server import GcsServer
from tests.services.google_tokens import TokenGate, TokenServer
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
    def _server(self, gcs: GcsServer) -> Iterator[None]:
        self.server = gcs
        self.gate = TokenGate(gcs)
        self.gate.good = {"secret-token"}
        self.gate.read_only = {"read-only-token"}
        yield
        self.gate.close()

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

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return self._at_the_gate(backend, "wrong-token")

    def open_read_only(self, backend: Backend) -> Backend:
        return self._at_the_gate(backend, "read-only-token")

    def _at_the_gate(self, backend: Backend, token: str) -> Backend:
        options = self.options(endpoint=self.gate.url, **{"access-token": token})
        return GoogleBackend.open(place_of(backend), options)

    def open_missing_store(self, backend: Backend) -> Backend:
        return GoogleBackend.open("no-such-bucket:/", self.options())

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return GoogleBackend.open(place_of(backend), self.options(endpoint=f"127.0.0.1:{free_port()}"))


@pytest.fixture
def gate(gcs: GcsServer) -> Iterator[TokenGate]:
    """The emulator, for who has a token."""
    gate = TokenGate(gcs)
    yield gate
    gate.close()


@pytest.mark.parametrize("by", ["option", "variable"])
def test_service_account(gate: TokenGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Servers back up as a service account: its key signs for tokens, which end and are renewed in mid-run."""
    tokens = TokenServer()
    with tokens.running() as account:
        file = tmp_path / "account.json"
        options = {"gs.endpoint": gate.url}
        if by == "option":
            options["gs.credentials-file"] = str(file)
        else:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        file.write_text(json.dumps(account))
        backend = open_backend(f"gs:{new_place()}", options)
        assert tokens.given == []
        gate.good = {"token-0"}
        backend.create()
        (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
        assert tokens.given == ["token-0"]
        gate.good = {"token-1"}
        assert backend.load(handle) == b"a pack"
        assert (tokens.given, gate.refused) == (["token-0", "token-1"], 1)
        assert "token-" not in repr(backend)
        backend.close()


def test_application_default_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has signed in with gcloud, or runs in Google's cloud, names nothing; the token goes out over TLS only."""
    own = identity("gcs")
    authority = tmp_path / "authority.pem"
    authority.write_bytes(own.certificate)
    tokens = TokenServer()
    with (
        GcsServer(tmp_path, certificate=Path(own.write(tmp_path / "server.pem"))) as server,
        tokens.running() as account,
    ):
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        (tmp_path / "application_default_credentials.json").write_text(json.dumps(account))
        transport = Transport(root_certificates=[str(authority)])
        backend = open_backend(f"gs:{new_place()}", {"gs.endpoint": server.url}, transport)
        backend.create()
        (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
        assert backend.load(handle) == b"a pack"
        assert tokens.given == ["token-0"]
        backend.close()


def test_key_of_another_account(gate: TokenGate, tmp_path: Path) -> None:
    """A key that was taken back is told as what it is, not tried for a quarter of an hour."""
    with TokenServer().running() as account, TokenServer().running() as other:
        file = tmp_path / "account.json"
        file.write_text(json.dumps({**account, "token_uri": other["token_uri"]}))
        backend = GoogleBackend.open(new_place(), {"endpoint": gate.url, "credentials-file": str(file)})
        with pytest.raises(BackendError, match="invalid_grant") as caught:
            backend.stat(CONFIG_HANDLE)
        assert caught.value.permanent
        assert account["private_key"][100:140] not in str(caught.value)
        backend.close()


@pytest.mark.parametrize(("text", "expected"), [(None, "nowhere.json"), ("no json", "json"), ("{}", "json")])
def test_credentials_file_of_no_use(gate: TokenGate, tmp_path: Path, text: str | None, expected: str) -> None:
    """The line has to name the file: it is often another than people think."""
    file = tmp_path / ("nowhere.json" if text is None else "account.json")
    if text is not None:
        file.write_text(text)
    backend = GoogleBackend.open(new_place(), {"endpoint": gate.url, "credentials-file": str(file)})
    with pytest.raises(BackendError, match=expected) as caught:
        backend.stat(CONFIG_HANDLE)
    assert caught.value.permanent
    assert str(file) in str(caught.value)
    backend.close()


def test_token_server_that_is_down(gate: TokenGate, tmp_path: Path) -> None:
    """What passes is waited for, also where it is not the storage itself."""
    with TokenServer().running() as account:
        pass
    file = tmp_path / "account.json"
    file.write_text(json.dumps({**account, "token_uri": f"http://127.0.0.1:{free_port()}/token"}))
    backend = GoogleBackend.open(new_place(), {"endpoint": gate.url, "credentials-file": str(file)})
    with pytest.raises(BackendError, match=r"127\.0\.0\.1") as caught:
        backend.stat(CONFIG_HANDLE)
    assert not caught.value.permanent
    backend.close()


def test_environment_of_restic(gcs: GcsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts for restic name project, token and emulator in the environment."""
    gate = TokenGate(gcs)
    gate.good = {"from-the-environment"}
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gate.url.removeprefix("http://"))
    monkeypatch.setenv("GOOGLE_ACCESS_TOKEN", "from-the-environment")
    monkeypatch.setenv("GOOGLE_PROJECT_ID", "limpet")
    place = new_place()
    backend = open_backend(f"gs:{place}", {"gs.region": "europe-west3", "gs.connections": "2"})
    backend.create()
    save_all(backend, FileKind.KEY, [b"a key"])
    assert backend.properties.connections == 2
    (made,) = gate.made
    assert made == {"name": place.partition(":")[0], "location": "europe-west3", "project": "limpet"}
    backend.close()
    gate.close()


def test_certificates(tmp_path: Path) -> None:
    """A private endpoint has a certificate of its own authority, which is trusted only if it is named."""
    own = identity("gcs")
    pem = Path(own.write(tmp_path / "server.pem"))
    authority = tmp_path / "authority.pem"
    authority.write_bytes(own.certificate)
    with GcsServer(tmp_path, certificate=pem) as server:
        options = {"endpoint": server.url, "access-token": "a-token", "project-id": "limpet"}
        place = new_place()
        for transport in (Transport(root_certificates=[str(authority)]), Transport(verify_tls=False)):
            backend = GoogleBackend.open(place, options, transport)
            backend.create()
            backend.save(CONFIG_HANDLE, content_of(b"the config"))
            assert backend.load(CONFIG_HANDLE) == b"the config"
            backend.close()
        backend = GoogleBackend.open(place, options)
        with pytest.raises(BackendError, match="not trusted") as caught:
            backend.stat(CONFIG_HANDLE)
        assert caught.value.permanent
        backend.close()


def test_connections_are_reused_and_closed(gcs: GcsServer) -> None:
    """restic once exhausted the ports of its hosts: no more connections than allowed, and none after the end."""
    place = new_place()
    with FaultProxy(gcs.port) as proxy:  # without a fault: it counts
        backend = GoogleBackend.open(
            place, {"endpoint": f"127.0.0.1:{proxy.port}", "project-id": "p", "connections": 2}
        )
        backend.create()
        contents = [b"%d" % number for number in range(60)]

        def work(part: list[bytes]) -> None:
            for handle in save_all(backend, FileKind.PACK, part):
                backend.load(handle)
                with pytest.raises(MissingFileError):
                    backend.load(Handle(FileKind.INDEX, handle.name))

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, [contents[number::6] for number in range(6)]))
        assert 1 <= proxy.accepted <= 2
        backend.close()
        deadline = time.monotonic() + 30
        while proxy.open_now:  # the proxy sees the end a moment later
            assert time.monotonic() < deadline, f"{proxy.open_now} connections are still open"
            time.sleep(0.01)


def test_a_body_that_changed_on_its_way(gcs: GcsServer) -> None:
    """The service tells what it has stored: bytes that got damaged in memory or on the line are sent again."""
    backend = GoogleBackend.open(new_place(), {"endpoint": gcs.url, "project-id": "limpet"})
    backend.create()
    backend.save(CONFIG_HANDLE, content_of(b"the config"))
    bucket, name = object_of(backend, CONFIG_HANDLE)
    assert gcs.md5(bucket, name) == base64.b64encode(hashlib.md5(b"the config").digest()).decode()
    backend.close()


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (403, "forbidden", True),
        (403, "rateLimitExceeded", False),
        (403, "retentionPolicyNotMet", True),
        (401, "authError", True),
        (400, "invalid", True),
        (412, "conditionNotMet", True),
        (429, "rateLimitExceeded", False),
        (500, "backendError", False),
        (503, "backendError", False),
        (507, "", True),
    ],
)
def test_what_is_tried_again(status: int, reason: str, permanent: bool) -> None:
    """Too many requests is 403 at Google too; what is forbidden must not be tried for a quarter of an hour."""
    body = json.dumps({"error": {"code": status, "message": "why", "errors": [{"reason": reason}]}}).encode()
    error = refused("cannot save config", status, {"Retry-After": "7"}, body)
    assert (error.permanent, error.retry_after_s) == (permanent, None if permanent else 7.0)
    assert "why" in str(error)
    assert isinstance(refused("stat config", 404, {}, b"<html>"), MissingFileError)


@pytest.mark.parametrize(
    ("place", "options", "expected"),
    [
        ("bucket", {}, "gs:BUCKET:/PREFIX"),
        ("Bucket:/", {}, "lower-case"),
        ("bucket:/", {"connections": -1}, "connections"),
        ("bucket:/", {"endpoint": "ftp://127.0.0.1"}, "URL"),
        ("bucket:/", {"endpoint": "http://ann:secret@127.0.0.1"}, "URL"),
    ],
)
def test_senseless_settings(place: str, options: dict[str, str | int], expected: str) -> None:
    """A mistake on the command line is told before anything is sent."""
    with pytest.raises(UsageError, match=expected) as caught:
        GoogleBackend.open(place, options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "config"),
    [
        ("bucket:/", "config"),
        ("bucket:", "config"),
        ("bucket:/a//b/", "a/b/config"),
        ("bucket:a/./b", "a/b/config"),
    ],
)
def test_places_are_restics(place: str, config: str) -> None:
    """Another reading of the location would look for the repository where restic did not put it."""
    assert parse_place(place).path(CONFIG_HANDLE) == config


@pytest.mark.parametrize(
    "fault",
    [RESET, LOST_ANSWER, CUT_BODY, SHORT_BODY, WHOLE_BODY, status(429, retry_after_s=3), status(500), status(503)],
    ids=lambda fault: f"{fault.kind.name} {fault.status}",
)
def test_bad_network(gcs: GcsServer, fault: Fault) -> None:
    """What the network does to a request passes, so it is tried again; other bytes are never taken for the file's."""
    with FaultProxy(gcs.port) as proxy:
        backend = GoogleBackend.open(new_place(), {"endpoint": f"127.0.0.1:{proxy.port}", "project-id": "limpet"})
        backend.create()
        data = some_bytes(100_000)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        calls: list[Callable[[], object]] = [
            lambda: backend.load(handle, 1_000, 50_000),
            lambda: backend.load(handle, 1_000),
        ]
        if fault not in {SHORT_BODY, WHOLE_BODY, CUT_BODY}:
            calls += [lambda: backend.stat(handle), lambda: backend.save(handle, content_of(data))]
        proxy.inject(fault)
        for call in calls:
            with pytest.raises(BackendError) as caught:
                call()
            assert not caught.value.permanent, caught.value
            assert caught.value.retry_after_s == (3 if fault.status == 429 else None)
        proxy.heal()
        assert backend.load(handle, 1_000, 50_000) == data[1_000:51_000]
        backend.close()


def test_silent_server(gcs: GcsServer) -> None:
    """A request that hangs is given up after the time the user has set, for the retry to come."""
    with FaultProxy(gcs.port) as proxy:
        proxy.inject(BLACK_HOLE)
        backend = GoogleBackend.open(
            new_place(),
            {"endpoint": f"127.0.0.1:{proxy.port}", "project-id": "limpet"},
            Transport(stuck_request_timeout_s=0.2),
        )
        with pytest.raises(BackendError, match="no answer from 127") as caught:
            backend.stat(CONFIG_HANDLE)
        assert not caught.value.permanent
        backend.close()
