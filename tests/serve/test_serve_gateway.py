"""`limpet serve --backend`: the REST protocol in front of an object store, of a folder, and of trouble."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from limpet import registry
from limpet.cli.main import main
from limpet.contracts.backend import Backend, Handle
from limpet.ids import is_hex_id
from limpet.testing.backend import content_of, some_bytes
from limpet.testing.restic import Restic

from tests.serve.cases import DATA, ID, USERS, V2, login
from tests.serve.wire import Wire, ask, request
from tests.services.fault_proxy import FaultProxy, Request, status
from tests.services.folder_conformance import path_below
from tests.services.process import ServerProcess, free_port
from tests.services.rclone_s3 import RcloneS3Server
from tests.services.rest_conformance import RestConformance
from tests.services.rest_server import LimpetServer
from tests.services.waiting import wait_for

PASSWORD = "of the repository"
BUCKET = "bucket"
LARGE = some_bytes(9 << 20)
LARGE_ID = hashlib.sha256(LARGE).hexdigest()


class GatewayServer(LimpetServer):
    """A running `limpet serve --backend`."""

    name = "gateway"

    def __init__(self, folder: Path, location: str, *flags: str, users: dict[str, str] | None = None) -> None:
        self.location = location
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, *flags, users=users)

    def place(self) -> Sequence[str | Path]:
        return ("--backend", self.location)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """An object store with a bucket, the keys to which are in the environment, as people have them."""
    with RcloneS3Server(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", server.s3_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.s3_secret)
        (server.root / BUCKET).mkdir()
        yield server


@pytest.fixture(scope="module")
def gateway(s3: RcloneS3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayServer]:
    """A gateway to a prefix of the bucket."""
    server = GatewayServer(tmp_path_factory.mktemp("gateway"), f"s3:{s3.url}/{BUCKET}/pre/fix")
    yield server
    server.close()


class TestGateway(RestConformance):
    """All that clients may expect of a server, when its files are in a bucket."""

    s3: RcloneS3Server

    @pytest.fixture
    def rest_server(self, gateway: GatewayServer, s3: RcloneS3Server) -> LimpetServer:
        self.s3 = s3
        return gateway

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        """By a client of the store itself: what is written beside rclone it sees when it likes; but for odd names."""
        if not is_hex_id(handle.name):
            self.s3.write(str(path_below(self.root_of(backend), handle).relative_to(self.s3.root)), data)
            return
        direct = registry.open_backend(f"s3:{self.s3.url}/{BUCKET}/pre/fix/{self.repository}")
        direct.save(handle, content_of(data))
        direct.close()

    def root_of(self, backend: Backend) -> Path:
        return self.s3.root / BUCKET / "pre/fix" / self.repository


def life(restic: Restic, repository: str, folder: Path, restored: Path) -> None:
    """A repository from its beginning to a restore; AssertionError where a step fails or files do not come back."""
    (folder / "large").write_bytes(LARGE)
    (folder / "small").write_bytes(b"a small file")
    for words in (
        ["init"],
        ["backup", folder],
        ["backup", "--force", folder],
        ["forget", "--keep-last", "1", "--prune"],
        ["check", "--read-data"],
        ["restore", "latest", "--target", restored],
    ):
        restic.run(*words, repo=repository, password=PASSWORD)
    back = restored / folder.relative_to("/")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        "large": LARGE,
        "small": b"a small file",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.mark.interop
def test_restic_through_the_gateway(
    gateway: GatewayServer, s3: RcloneS3Server, restic_new: Restic, folder: Path, tmp_path: Path
) -> None:
    """What the gateway stored must be a repository for whoever comes to the bucket directly, too."""
    life(restic_new, f"rest:{gateway.url('ann/laptop')}", folder, tmp_path / "restored")
    direct = f"s3:{s3.url}/{BUCKET}/pre/fix/ann/laptop"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMPET_PASSWORD", PASSWORD)
        assert main(["--no-cache", "-r", direct, "check", "--read-data"]) == 0
    restic_new.run("check", "--read-data", repo=direct, password=PASSWORD)


@pytest.mark.interop
def test_old_restic_into_a_folder(restic_old: Restic, folder: Path, tmp_path: Path) -> None:
    """Any location will do; a folder's is what people try first."""
    server = GatewayServer(tmp_path / "gateway", f"local:{tmp_path / 'place'}")
    try:
        life(restic_old, f"rest:{server.url('laptop')}", folder, tmp_path / "restored")
        assert (tmp_path / "place/laptop/config").is_file()
    finally:
        server.close()


def test_rules_hold_in_the_gateway(s3: RcloneS3Server, tmp_path: Path) -> None:
    """Append-only and private repositories protect what is in a bucket as they protect a folder."""
    flags = ("--append-only", "--private-repos")
    server = GatewayServer(tmp_path / "gateway", f"s3:{s3.url}/{BUCKET}/rules", *flags, users=USERS)
    try:
        ann, bob = ([login(name, USERS[name])] for name in ("ann", "bob"))
        file = f"/ann/r/data/{ID}"
        assert ask(server, "POST", "/ann/r/?create=true", ann).status == 200
        assert ask(server, "POST", file, bob, DATA).status == 401
        assert ask(server, "POST", file, ann, DATA).status == 200
        assert ask(server, "POST", f"/ann/r/locks/{ID}", ann, DATA).status == 200
        assert ask(server, "DELETE", file, ann).status == 403
        assert ask(server, "DELETE", f"/ann/r/locks/{ID}", ann).status == 200
        assert ask(server, "GET", file, bob).status == 401
        assert ask(server, "GET", file).status == 401
        assert ask(server, "GET", file, ann).body == DATA
        assert ask(server, "GET", "/ann/r/locks/", [*ann, V2]).body == b"[]"
    finally:
        server.close()


def test_client_breaks_off(gateway: GatewayServer, s3: RcloneS3Server) -> None:
    """Half of a pack in a bucket, under the name of the whole, is what a later backup would rely on."""
    assert ask(gateway, "POST", "/half/?create=true").status == 200
    for ends in (Wire.end, Wire.reset):
        with Wire(gateway) as wire:
            wire.send(request("POST", f"/half/data/{LARGE_ID}", [], LARGE)[:-1000])
            ends(wire)
    wrong = ask(gateway, "POST", f"/half/data/{'0' * 64}", [], LARGE)
    assert wrong.status == 400
    # The uploads before are over when their files are: a descriptor is all that there is of them.
    descriptors = Path(f"/proc/{gateway.process.pid}/fd")
    deadline = time.monotonic() + 30
    while any("limpet-serve-" in _target(link) for link in descriptors.iterdir()):
        assert time.monotonic() < deadline, "an upload that broke off is still there"
        time.sleep(0.05)
    assert ask(gateway, "GET", "/half/data/", [V2]).body == b"[]"
    assert not [path for path in (s3.root / BUCKET / "pre/fix/half").rglob("*") if path.is_file()]
    assert ask(gateway, "POST", f"/half/data/{LARGE_ID}", [], LARGE).status == 200
    assert ask(gateway, "GET", f"/half/data/{LARGE_ID}").body == LARGE


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def stores(asked: Request) -> bool:
    """Whether the object store is asked to keep a pack."""
    return asked.writes and "/data/" in asked.path


def test_storage_fails_in_the_middle(s3: RcloneS3Server, tmp_path: Path) -> None:
    """An upload that the object store does not take must not be told as done, nor be half there."""
    with FaultProxy(s3.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        server = GatewayServer(tmp_path / "gateway", f"s3:{url}/{BUCKET}/faults")
        try:
            assert ask(server, "POST", "/r/?create=true").status == 200
            for fault, answered, told in ((403, 502, "does not allow"), (507, 507, "no space")):
                proxy.inject(status(fault), when=stores)
                answer = ask(server, "POST", f"/r/data/{LARGE_ID}", [], LARGE)
                proxy.heal()
                assert answer.status == answered
                assert told in server.said()
                assert ask(server, "HEAD", f"/r/data/{LARGE_ID}").status == 404
            # One failure is bridged: the client never hears of it.
            plan = proxy.inject(status(500), when=stores, times=1)
            assert ask(server, "POST", f"/r/data/{LARGE_ID}", [], LARGE).status == 200
            assert plan.happened == 1
            assert ask(server, "GET", f"/r/data/{LARGE_ID}").body == LARGE
        finally:
            server.close()
        assert s3.s3_secret not in server.said()


def test_storage_is_away(tmp_path: Path) -> None:
    """A client that gets 404 from a gateway without its storage takes its repository for gone, and makes a new one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        server = GatewayServer(tmp_path / "gateway", f"s3:http://127.0.0.1:{free_port()}/{BUCKET}")
    try:
        file = f"/r/data/{ID}"
        asked = [("GET", file, None), ("HEAD", file, None), ("POST", file, DATA), ("GET", "/r/data/", None)]
        asked += [("DELETE", file, None), ("POST", "/r/config", DATA), ("POST", "/r/?create=true", b"")]
        with ThreadPoolExecutor(len(asked)) as threads:
            answers = list(threads.map(lambda one: ask(server, one[0], one[1], [], one[2]), asked))
        assert [answer.status for answer in answers] == [503] * len(asked)
        assert "127.0.0.1" in server.said()
        assert not any(b"127.0.0.1" in answer.body for answer in answers), "clients know nothing of the storage"
        # SIGTERM ends the pauses between tries.
    finally:
        server.close()


def test_quotas_and_verify_through_the_gateway(tmp_path: Path) -> None:
    """What is behind a gateway costs money by its size, and gets damaged, too: both is watched, over restarts."""
    place, folder = tmp_path / "place", tmp_path / "gateway"
    server = GatewayServer(folder, f"local:{place}")
    for name in ("old/r", "new", "third"):
        assert ask(server, "POST", f"/{name}/?create=true").status == 200
    assert ask(server, "POST", f"/old/r/data/{LARGE_ID}", [], LARGE).status == 200, "before there was a quota"
    server.close()
    flags = ("--path", str(folder), "--repo-quota", "10M", "--prometheus")
    small = some_bytes(2 << 20)
    file = f"/old/r/data/{hashlib.sha256(small).hexdigest()}"
    server = GatewayServer(folder, f"local:{place}", *flags)
    try:
        assert ask(server, "POST", f"/new/data/{LARGE_ID}", [], LARGE).status == 200
        refused = ask(server, "POST", file, [], small)
        assert refused.status == 507
        assert b"repository's quota of 10485760 bytes, 9437184 are used" in refused.body
    finally:
        server.close()
    (place / "new" / "data" / LARGE_ID[:2] / LARGE_ID).write_bytes(LARGE[:-1])
    server = GatewayServer(folder, f"local:{place}", *flags, "--max-size", "19M", "--verify")
    try:
        refused = ask(server, "POST", f"/third{file[6:]}", [], small)
        assert (refused.status, b"server's quota" in refused.body) == (507, True), "both repositories are remembered"
        wait_for(lambda: f"verify: data/{LARGE_ID} of repository new is damaged" in server.said(), "the report")
        metrics = ask(server, "GET", "/metrics").body.decode()
        assert 'limpet_serve_stored_bytes{repo="new"} 9437183' in metrics
        assert 'limpet_serve_stored_bytes{repo="old/r"} 9437184' in metrics
        assert ask(server, "DELETE", f"/old/r/data/{LARGE_ID}").status == 200
        assert ask(server, "POST", file, [], small).status == 200
        assert ask(server, "POST", f"/third{file[6:]}", [], small).status == 200
    finally:
        server.close()


@pytest.mark.parametrize("limits", [["--verify"], ["--max-size", "1M"]], ids=["verify", "quota"])
def test_only_what_is_stored_is_remembered(tmp_path: Path, limits: list[str]) -> None:
    """Names are the clients' to choose: those of uploads that fail stopped verify, and all uploads after a restart."""
    folder, place = tmp_path / "gateway", tmp_path / "place"
    flags = ("--path", str(folder), "--max-size", "1M", "--verify")
    server = GatewayServer(folder, f"local:{place}", "--path", str(folder), *limits)
    try:
        assert ask(server, "POST", "/fine/?create=true").status == 200
        assert ask(server, "POST", f"/what%20the%20storage%20cannot/data/{ID}", [], DATA).status == 404
        assert ask(server, "POST", f"/empty/data/{ID}", [], b"not what its name says").status == 400
        assert not (folder / ".repositories.json").exists()
        assert ask(server, "POST", f"/fine/data/{ID}", [], DATA).status == 200
    finally:
        server.close()
    assert json.loads((folder / ".repositories.json").read_bytes())["repositories"] == ["fine"]
    server = GatewayServer(folder, f"local:{place}", *flags)
    try:
        assert ask(server, "POST", f"/fine/locks/{ID}", [], DATA).status == 200
    finally:
        server.close()


def test_senseless_location_ends_at_once(tmp_path: Path) -> None:
    """A server that starts and then refuses every client costs a night's backups."""
    log = tmp_path / "log"
    for words, told in (
        (("--backend", "nope:x"), "no backend is called 'nope'"),
        (("--backend", "s3:http://127.0.0.1/b", "-o", "s3.connections=none"), "s3.connections"),
    ):
        with ServerProcess([*LimpetServer.program(), *words, "--no-auth", "--listen", "127.0.0.1:0"], log) as process:
            assert process.process.wait(60) == 1
        assert told in log.read_text()
