"""The Azure backend against the conformance suite on Azurite, with each kind of credentials."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.contracts.options import Options
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.registry.opening import open_backend
from limpet.testing.backend import BackendConformance, content_of, handle_of, save_all, some_bytes
from limpet.testing.certificates import identity
from limpet_backend_azure import AzureBackend
from limpet_backend_azure.account import account
from limpet_backend_azure.errors import refused
from limpet_backend_azure.location import parse_place
from limpet_backend_azure.service import Service

from tests.services.azurite_server import ACCOUNT, KEY, AzuriteServer, ManagedIdentity, signature
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
from tests.services.process import free_port

WRONG_KEY = "d3Jvbmc="


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    """The emulator, over http."""
    with AzuriteServer(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_account_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCOUNT_NAME", "ACCOUNT_KEY", "ACCOUNT_SAS", "STORAGE_CONNECTION_STRING", "ENDPOINT_SUFFIX"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)


def new_place(folder: str = "a folder/inner") -> str:
    """A place in a container of its own."""
    return f"c{uuid.uuid4().hex}:/{folder}"


def by_key(server: AzuriteServer, **more: str | int) -> Options:
    """Options that open the server by its account's key."""
    return {"account-name": ACCOUNT, "account-key": KEY, "endpoint": server.url, **more}


def by_signature(server: AzuriteServer, **more: str | int) -> Options:
    """Options that open the server by a shared access signature."""
    return {"account-name": ACCOUNT, "account-sas": f"?{signature()}", "endpoint": server.url, **more}


def place_of(backend: Backend) -> str:
    """The location without its scheme."""
    return backend.location.removeprefix("azure:")


def blob_of(backend: Backend, handle: Handle) -> tuple[str, str]:
    """Container and blob in which restic keeps this file."""
    container, _, folder = place_of(backend).partition(":/")
    if handle.kind is FileKind.CONFIG:
        return container, f"{folder}/config"
    inner = f"{handle.name[:2]}/" if handle.kind is FileKind.PACK else ""
    return container, f"{folder}/{handle.kind.value}/{inner}{handle.name}"


class TestAzureBackend(BackendConformance):
    """With the account's key."""

    secrets: Sequence[str] = (KEY, WRONG_KEY)

    @pytest.fixture(autouse=True)
    def _server(self, azurite: AzuriteServer) -> None:
        self.server = azurite

    @pytest.fixture
    def backend(self, azurite: AzuriteServer) -> Iterator[Backend]:
        service = Service(account(self.options()), Transport(), 5)
        backend = AzureBackend(service, parse_place(new_place()), listed_at_once=1000)
        backend.create()
        yield backend
        backend.close()

    def options(self, **more: str | int) -> Options:
        """The credentials that this class is about."""
        return by_key(self.server, **more)

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        return self.server.read(*blob_of(backend, handle))

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.server.write(*blob_of(backend, handle), data)

    def open_again(self, backend: Backend) -> Backend:
        return AzureBackend.open(place_of(backend), self.options())

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return AzureBackend.open(place_of(backend), by_key(self.server, **{"account-key": WRONG_KEY}))

    def open_missing_store(self, backend: Backend) -> Backend:
        return AzureBackend.open("no-such-container:/", self.options())

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return AzureBackend.open(place_of(backend), self.options(endpoint=f"http://127.0.0.1:{free_port()}/{ACCOUNT}"))

    def open_read_only(self, backend: Backend) -> Backend:
        signed = {"account-key": "", "account-sas": signature("rl")}
        return AzureBackend.open(place_of(backend), by_key(self.server, **signed))


class TestWithSignature(TestAzureBackend):
    """With a shared access signature."""

    secrets = ("sig=",)
    listed_files = 20
    largest_size_bytes = 1 << 20

    def options(self, **more: str | int) -> Options:
        return by_signature(self.server, **more)

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return AzureBackend.open(
            place_of(backend), by_signature(self.server, **{"account-sas": signature(valid_s=-60)})
        )


def test_large_files_go_up_in_blocks(azurite: AzuriteServer) -> None:
    """One request takes 256 MiB here; what is larger must be as whole, and replace as one, as anything else."""
    service = Service(account(by_key(azurite)), Transport(), 5)
    backend = AzureBackend(service, parse_place(new_place()), largest_put_bytes=1 << 20, block_bytes=300_000)
    backend.create()
    handle = handle_of(b"the name of both")
    for data in (some_bytes((1 << 20) + 1), bytes(2 << 20)):  # the second has many blocks that are the same
        backend.save(handle, content_of(data))
        assert backend.load(handle) == data
        assert azurite.read(*blob_of(backend, handle)) == data
    backend.close()


def test_a_body_that_changed_on_its_way(azurite: AzuriteServer) -> None:
    """The service compares MD5: bytes that got damaged in memory or on the line are not kept, and sent again."""
    service = Service(account(by_key(azurite)), Transport(), 1)
    backend = AzureBackend(service, parse_place(new_place()))
    backend.create()
    handle = handle_of(b"a pack")
    container, blob = blob_of(backend, handle)
    headers = {"x-ms-blob-type": "BlockBlob", "Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    with pytest.raises(BackendError, match="answered 400"):
        service.request("cannot save", "PUT", f"{container}/{blob}", headers=headers, body=memoryview(b"a pack"))
    # Azure's own word for it; Azurite has another.
    assert not refused("cannot save", 400, {"x-ms-error-code": "Md5Mismatch"}, b"").permanent
    with pytest.raises(MissingFileError):
        backend.stat(handle)
    backend.close()


def test_connection_string(azurite: AzuriteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """People paste it from the portal into the environment and expect that nothing else is needed."""
    place = new_place()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string())
    by_its_key = open_backend(f"azure:{place}")
    by_its_key.create()
    (handle,) = save_all(by_its_key, FileKind.PACK, [b"a pack"])
    signed = f"BlobEndpoint={azurite.url};SharedAccessSignature={signature('rl')}"
    by_its_signature = open_backend(f"azure:{place}", {"azure.connection-string": signed})
    assert by_its_signature.load(handle) == b"a pack"
    with pytest.raises(BackendError, match="do not allow"):
        by_its_signature.remove(handle)
    assert not any(secret in repr(backend) for backend in (by_its_key, by_its_signature) for secret in (KEY, "sig="))
    by_its_key.close()
    by_its_signature.close()


def test_environment_of_restic(azurite: AzuriteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts for restic name the account in the environment; a key goes before a signature, both before the string."""
    monkeypatch.setenv("AZURE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("AZURE_ACCOUNT_SAS", "sig=of-another-account")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=another;AccountKey=d3Jvbmc=")
    backend = open_backend(f"azure:{new_place()}", {"azure.endpoint": azurite.url, "azure.connections": "2"})
    backend.create()
    save_all(backend, FileKind.KEY, [b"a key"])
    assert backend.properties.connections == 2
    backend.close()


@pytest.mark.parametrize("tier", ["hot", "Cool", "ARCHIVE"])
def test_access_tier(azurite: AzuriteServer, tier: str) -> None:
    """Cold storage costs less; in the archive nothing that every run has to read may end up."""
    backend = AzureBackend.open(new_place(), by_key(azurite, **{"access-tier": tier}))
    backend.create()
    backend.save(CONFIG_HANDLE, content_of(b"the config"))
    data = handle_of(b"data")
    trees = Handle(FileKind.PACK, handle_of(b"trees").name, is_tree_pack=True)
    backend.save(data, content_of(b"data"))
    backend.save(trees, content_of(b"trees"))
    tiers = [azurite.headers(*blob_of(backend, handle)).get("x-ms-access-tier") for handle in (data, trees)]
    config = azurite.headers(*blob_of(backend, CONFIG_HANDLE)).get("x-ms-access-tier")
    expected = tier.capitalize()
    warm = "Hot" if expected == "Archive" else expected
    assert (tiers, config) == ([expected, warm], warm)
    if expected == "Archive":
        with pytest.raises(BackendError, match="archive") as caught:
            backend.load(data)
        assert caught.value.permanent
    backend.close()


def test_default_credential_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cloud nobody has a key but an identity of the machine, whose token goes to nobody who is not trusted."""
    certificate = identity("azurite")
    with AzuriteServer(tmp_path, certificate=Path(certificate.write(tmp_path / "server.pem"))) as server:
        authority = tmp_path / "authority.pem"
        authority.write_bytes(certificate.certificate)
        transport = Transport(root_certificates=[str(authority)])
        place = new_place()
        options = {"azure.endpoint": server.url}
        provider = ManagedIdentity()
        with provider.running() as environment:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            backend = open_backend(f"azure:{place}", options, transport)
            backend.create()
            (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
            assert backend.load(handle) == b"a pack"
            assert provider.asked == 1
            backend.close()
            for trusting, expected in ((Transport(verify_tls=False), None), (Transport(), "not trusted")):
                other = open_backend(f"azure:{place}", options, trusting)
                if expected is None:
                    assert other.load(handle) == b"a pack"
                else:
                    with pytest.raises(BackendError, match=expected) as caught:
                        other.load(handle)
                    assert caught.value.permanent
                other.close()


def test_azure_cli_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for the CLI's user must not become another by chance, and is told what is missing."""
    monkeypatch.setenv("AZURE_FORCE_CLI_CREDENTIAL", "true")
    monkeypatch.setenv("AZURE_ACCOUNT_NAME", "limpettest")
    monkeypatch.setenv("PATH", "/nowhere")
    backend = open_backend(f"azure:{new_place()}")
    with pytest.raises(BackendError, match="Azure CLI") as caught:
        backend.stat(CONFIG_HANDLE)
    assert caught.value.permanent
    backend.close()


def test_connections_are_reused_and_closed(azurite: AzuriteServer) -> None:
    """restic once exhausted the ports of its hosts: no more connections than allowed, and none after the end."""
    place = new_place()
    with FaultProxy(azurite.port) as proxy:  # without a fault: it counts
        backend = AzureBackend.open(
            place, by_key(azurite, connections=2, endpoint=f"http://127.0.0.1:{proxy.port}/{ACCOUNT}")
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


def test_clock_that_is_off() -> None:
    """The service refuses signatures of another time: people would look for the mistake in the key."""
    headers = {"x-ms-error-code": "AuthenticationFailed", "Date": "Sat, 01 Jan 2000 00:00:00 GMT"}
    error = refused("stat config", 403, headers, b"")
    assert error.permanent
    assert "clock" in str(error)
    assert "clock" not in str(refused("stat config", 403, {**headers, "Date": formatdate(usegmt=True)}, b""))


@pytest.mark.parametrize(
    ("place", "options", "expected"),
    [
        ("container", {}, "azure:CONTAINER:/PREFIX"),
        ("Container:/", {}, "lower-case"),
        ("co:/", {}, "3 to 63"),
        ("container:/", {}, "AZURE_ACCOUNT_NAME"),
        ("container:/", {"account-key": KEY}, "AZURE_ACCOUNT_NAME"),
        ("container:/", {"account-name": "a/b", "account-key": KEY}, "storage account"),
        ("container:/", {"account-name": "limpet", "account-key": "no base64!"}, "base64"),
        ("container:/", {"account-name": "limpet", "account-sas": "sv=2021"}, "sig="),
        ("container:/", {"account-name": "limpet", "account-key": KEY, "connections": -1}, "connections"),
        ("container:/", {"account-name": "limpet", "account-key": KEY, "access-tier": "warm"}, "Hot, Cool"),
        ("container:/", {"endpoint": "http://127.0.0.1:1"}, "in the clear"),
        ("container:/", {"endpoint": "127.0.0.1:1", "account-key": KEY, "account-name": "limpet"}, "URL"),
        ("container:/", {"connection-string": "nonsense"}, "NAME=VALUE"),
        ("container:/", {"connection-string": "AccountName=limpet"}, "AccountKey"),
    ],
)
def test_senseless_settings(place: str, options: dict[str, str | int], expected: str) -> None:
    """A mistake on the command line is told before anything is sent."""
    with pytest.raises(UsageError, match=expected) as caught:
        AzureBackend.open(place, options)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "config"),
    [
        ("container:/", "config"),
        ("container:", "config"),
        ("container:/a//b/", "a/b/config"),
        ("container:a/./b", "a/b/config"),
    ],
)
def test_places_are_restics(place: str, config: str) -> None:
    """Another reading of the location would look for the repository where restic did not put it."""
    assert parse_place(place).path(CONFIG_HANDLE) == config


def test_names_of_hosts() -> None:
    """The other clouds of Azure differ in the end of the host's name alone."""
    options = {"account-name": "limpet", "account-key": KEY}
    assert account(options).endpoint == "https://limpet.blob.core.windows.net"
    assert account({**options, "endpoint-suffix": "core.chinacloudapi.cn"}).endpoint.endswith(".core.chinacloudapi.cn")
    string = {"connection-string": f"AccountName=limpet;AccountKey={KEY};EndpointSuffix=core.usgovcloudapi.net"}
    assert account(string).endpoint == "https://limpet.blob.core.usgovcloudapi.net"


@pytest.mark.parametrize(
    "fault",
    [RESET, LOST_ANSWER, CUT_BODY, SHORT_BODY, WHOLE_BODY, status(429, retry_after_s=3), status(500), status(503)],
    ids=lambda fault: f"{fault.kind.name} {fault.status}",
)
def test_bad_network(azurite: AzuriteServer, fault: Fault) -> None:
    """What the network does to a request passes, so it is tried again; other bytes are never taken for the file's."""
    with FaultProxy(azurite.port) as proxy:
        backend = AzureBackend.open(
            new_place(), by_signature(azurite, endpoint=f"http://127.0.0.1:{proxy.port}/{ACCOUNT}")
        )
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


def test_silent_server(azurite: AzuriteServer) -> None:
    """A request that hangs is given up after the time the user has set, for the retry to come."""
    with FaultProxy(azurite.port) as proxy:
        proxy.inject(BLACK_HOLE)
        backend = AzureBackend.open(
            new_place(),
            by_key(azurite, endpoint=f"http://127.0.0.1:{proxy.port}/{ACCOUNT}"),
            Transport(stuck_request_timeout_s=0.2),
        )
        with pytest.raises(BackendError, match="no answer from 127") as caught:
            backend.stat(CONFIG_HANDLE)
        assert not caught.value.permanent
        backend.close()
