"""etcd as a source and back, with a real server: a snapshot that etcd itself takes, or none."""

from __future__ import annotations

import base64
import os
import random
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from limpet.contracts.destination import DestinationRequest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import UsageError
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance
from limpet_source_etcd import EtcdDestination, EtcdSource, checksum, tools

from tests.services.etcd_server import ROOT_PASSWORD, EtcdServer
from tests.services.loopback import PIECE_BYTES, LoopbackServer
from tests.services.process import free_port
from tests.sources.runs import PASSWORD as REPOSITORY_PASSWORD
from tests.sources.runs import TIMEOUT_S, Runs, command_lines, wait_until

BIG_VALUES = 12
PATIENT = {"ETCDCTL_COMMAND_TIMEOUT": "60s", "ETCDCTL_DIAL_TIMEOUT": "60s"}
SOON = {"ETCDCTL_COMMAND_TIMEOUT": "1s", "ETCDCTL_DIAL_TIMEOUT": "1s"}
"""How late, on a busy machine, and how soon etcdctl gives up a server that does not answer, by its own variables."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """A cluster with keys of every kind, some of them changed and removed: 12 MiB."""
    chance = random.Random(5)
    with EtcdServer(tmp_path_factory.mktemp("etcd")) as server:
        for number in range(BIG_VALUES):
            server.put(f"/big/{number}", base64.b64encode(chance.randbytes(750_000)).decode())
        for key, value in (("/plain", "value"), ("/grüße/世界", "🐚\n\ttwo lines"), ("/empty", ""), ("-dash", "-v")):
            server.put(key, value)
        server.put("/plain", "changed")
        server.put("/gone", "soon")
        server.control("del", "/gone")
        yield server


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The command line and a repository."""
    return Runs(tmp_path / "runs", PATIENT)


def address(server: EtcdServer) -> str:
    """Of the cluster."""
    return f"etcd://127.0.0.1:{server.port}"


def stored(server: EtcdServer) -> str:
    """The path of its snapshot."""
    return f"/etcd/127.0.0.1:{server.port}/snapshot.db"


class Holding(LoopbackServer):
    """Passes on what a server sends until it has sent some, and then holds the rest back for ever."""

    def __init__(self, target_port: int, limit: int) -> None:
        self._target_port = target_port
        self._left = limit
        self.is_holding = threading.Event()
        super().__init__()

    def serve(self, client: socket.socket) -> None:
        server = self.connect(self._target_port)
        back = threading.Thread(target=self._send_back, args=(server, client), daemon=True)
        back.start()
        while piece := client.recv(PIECE_BYTES):
            server.sendall(piece)

    def _send_back(self, server: socket.socket, client: socket.socket) -> None:
        try:
            while self._left > 0 and (piece := server.recv(min(PIECE_BYTES, self._left))):
                client.sendall(piece)
                self._left -= len(piece)
        except OSError:
            return
        if self._left <= 0:
            self.is_holding.set()


class TestEtcd(SourceConformance):
    """One cluster."""

    @pytest.fixture
    def source(self, server: EtcdServer) -> Iterator[Source]:
        """Its snapshot."""
        source = EtcdSource.open(SourceRequest([f"//127.0.0.1:{server.port}"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """A key in a cluster is no cluster."""
        return SourceRequest(["//127.0.0.1/key"])


def test_round_trip(server: EtcdServer, runs: Runs, tmp_path: Path, restic_any: Restic) -> None:
    """A cluster that comes back without its keys, or with other ones, is a cluster that is down."""
    runs.run("backup", address(server))
    restic_any.run("check", "--read-data", repo=runs.repository, password=REPOSITORY_PASSWORD)
    restic_any.run(
        "restore", "latest", "--target", tmp_path / "out", repo=runs.repository, password=REPOSITORY_PASSWORD
    )
    assert checksum.problem(f"{tmp_path}/out{stored(server)}") is None
    assert runs.leftovers() == []
    runs.run("restore", "latest", "--into", f"etcd://{tmp_path}/new/data")
    assert runs.leftovers() == []
    with EtcdServer(tmp_path / "copy", data=tmp_path / "new/data") as copy:
        content = copy.content()
        assert content == server.content()
    assert len(content) == BIG_VALUES + 4


def test_restored_member_may_be_called_otherwise(server: EtcdServer, runs: Runs, tmp_path: Path) -> None:
    """Each member of a new cluster needs a name and an address of its own."""
    runs.run("backup", address(server))
    parameters = "name=m1&initial_cluster=m1=http://127.0.0.1:23800&initial_advertise_peer_urls=http://127.0.0.1:23800"
    runs.run("restore", "latest", "--into", f"etcd://{tmp_path}/data?{parameters}")
    assert (tmp_path / "data/member/snap/db").exists()
    wrong = f"etcd://{tmp_path}/other?name=m2&initial_cluster=m1=http://127.0.0.1:23800"
    said = runs.run("restore", "latest", "--into", wrong, exit_code=1)
    assert "snapshot restore failed: exit status" in said
    assert not (tmp_path / "other").exists()
    assert runs.leftovers() == []


def test_unchanged_cluster_adds_no_data(server: EtcdServer, runs: Runs) -> None:
    """A snapshot that differs in a byte here and there would be stored again every hour."""
    assert runs.backup(address(server))["data_blobs"] > 3
    assert runs.backup(address(server))["data_blobs"] == 0


def test_consistent_while_somebody_writes(server: EtcdServer, runs: Runs, tmp_path: Path) -> None:
    """Two keys that are always written in one transaction must be the same in the snapshot."""
    done = threading.Event()
    counts = [0]

    def write() -> None:
        while not done.is_set():
            counts[0] += 1
            server.control("txn", given=f"\nput /a {counts[0]}\nput /z {counts[0]}\n\n\n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_until(lambda: counts[0] > 1)
        before = counts[0] - 1
        runs.run("backup", address(server))
        wait_until(lambda: counts[0] > before + 1)
    finally:
        done.set()
        writer.join()
    runs.run("restore", "latest", "--into", f"etcd://{tmp_path}/data")
    with EtcdServer(tmp_path / "copy", data=tmp_path / "data") as copy:
        first, last = (copy.control("get", "--print-value-only", key) for key in ("/a", "/z"))
    server.control("del", "/a")
    server.control("del", "/z")
    assert first == last
    assert before <= int(first) <= counts[0]


def test_tls_with_a_client_certificate(tmp_path: Path, runs: Runs) -> None:
    """Clusters that hold secrets let in nobody without a certificate."""
    with EtcdServer(tmp_path / "etcd", tls=True) as server:
        server.put("/secret", "kept")
        files = {name: server.variables[f"ETCDCTL_{name.upper()}"] for name in ("cacert", "cert", "key")}
        runs.run(
            "backup", *(word for name, path in files.items() for word in ("-o", f"etcd.{name}={path}")), address(server)
        )
        parameters = "&".join(f"{name}={path}" for name, path in files.items())
        runs.run("backup", f"{address(server)}?{parameters}")
        runs.variables |= SOON
        without = f"{address(server)}?cacert={files['cacert']}"
        assert "endpoint health failed: exit status 1" in runs.refused(without)
        assert "endpoint health failed: exit status 1" in runs.refused(address(server))
    assert runs.snapshot_count() == 2


def test_password(tmp_path: Path, runs: Runs) -> None:
    """Who may list processes must not learn the password that opens everything."""
    (tmp_path / "password").write_text(f"{ROOT_PASSWORD}\n")
    (tmp_path / "wrong").write_text("guess\n")
    with EtcdServer(tmp_path / "etcd") as server:
        server.put("/secret", "kept")
        server.with_users()
        named = address(server).replace("//", "//root@")
        with command_lines() as seen:
            said = runs.run("backup", "-vv", "-o", f"etcd.password_file={tmp_path}/password", named)
        assert not [line for line in seen if ROOT_PASSWORD.encode() in line]
        assert [line for line in seen if b"snapshot\0save" in line], "it was looked at while etcdctl ran"
        assert ROOT_PASSWORD not in said
        assert ROOT_PASSWORD.encode() not in runs.restored(stored(server))
        wrong = runs.refused("-o", f"etcd.password_file={tmp_path}/wrong", named)
        assert "authentication failed" in wrong
        assert "guess" not in wrong
        guest = address(server).replace("//", "//guest@")
        assert "permission denied" in runs.refused("-o", f"etcd.password_file={tmp_path}/password", guest)
        runs.refused(address(server))
        command = f"{named}?password_command=cat {tmp_path}/password"
        runs.run("backup", command)
    assert runs.snapshot_count() == 2


def test_server_that_is_down(runs: Runs) -> None:
    """etcdctl would wait for it until the next morning."""
    runs.variables |= SOON
    said = runs.refused(f"etcd://127.0.0.1:{free_port()}")
    assert "endpoint health failed: exit status 1" in said
    assert "127.0.0.1" in said


def test_server_killed_in_the_middle(tmp_path: Path, runs: Runs) -> None:
    """The beginning of a snapshot is a file that no cluster starts from."""
    with EtcdServer(tmp_path / "etcd") as server:
        value = base64.b64encode(random.Random(1).randbytes(1_000_000)).decode()
        for number in range(4):
            server.put(f"/{number}", value)
        with Holding(server.port, 2_000_000) as proxy:
            process = runs.start("backup", f"etcd://127.0.0.1:{proxy.port}")
            assert proxy.is_holding.wait(TIMEOUT_S)
            server.kill()
            proxy.close()
            _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "snapshot save failed: exit status" in errors
    assert runs.snapshot_count() == 0
    assert runs.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_leaves_nothing(number: int, server: EtcdServer, runs: Runs) -> None:
    """Half a snapshot in /tmp holds the cluster's secrets; an etcdctl that waits there still holds a connection."""
    with Holding(server.port, 2_000_000) as proxy:
        runs.stopped(f"etcd://127.0.0.1:{proxy.port}", at=proxy.is_holding.is_set, number=number)
        wait_until(lambda: not _running(f"127.0.0.1:{proxy.port}"))


def test_killed_tool_is_no_snapshot(server: EtcdServer, runs: Runs) -> None:
    """The system kills what takes too much memory."""
    with Holding(server.port, 2_000_000) as proxy:
        process = runs.start("backup", f"etcd://127.0.0.1:{proxy.port}")
        assert proxy.is_holding.wait(TIMEOUT_S)
        os.kill(_running(f"127.0.0.1:{proxy.port}")[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "snapshot save failed: signal 9" in errors
    assert runs.snapshot_count() == 0
    assert runs.leftovers() == []


def _running(endpoint: str) -> list[int]:
    """The processes of etcdctl that talk to the endpoint, which their environment names."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_tool = (process / "comm").read_text().strip() == "etcdctl"
            if is_tool and f"http://{endpoint}".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # it ended
    return found


def test_snapshot_that_does_not_grow_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """etcdctl waits without end for a server that fell silent: tomorrow's backup would find this one still there."""
    monkeypatch.setattr(tools, "STUCK_S", 0.3)
    with pytest.raises(tools.ToolError, match="the server sent nothing for"):
        tools.run(["sleep", "1000"], lambda: 7)
    sizes = iter(range(1000))
    tools.run(["sleep", "1"], lambda: next(sizes))


def test_damaged_snapshot_is_not_stored(server: EtcdServer, tmp_path: Path) -> None:
    """What etcdctl wrote is looked at again: a byte that fell over between server and disk is found now, not later."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "etcdctl").write_text(
        f'#!/bin/sh\n{server.etcdctl} "$@" || exit\n'
        'if [ "$2" = save ]; then printf x | dd of="$3" bs=1 seek=300000 conv=notrunc status=none; fi\n'
    )
    (folder / "etcdctl").chmod(0o755)
    runs = Runs(tmp_path / "runs", {**PATIENT, "PATH": f"{folder}:{os.environ['PATH']}"})
    assert "the snapshot is damaged: its checksum is another one" in runs.refused(address(server))


def test_damaged_snapshot_is_not_restored(runs: Runs, tmp_path: Path) -> None:
    """Found before the tool makes a folder of it."""
    (tmp_path / "some.db").write_bytes(bytes(512 * 100) + b"x" * 32)
    runs.run("backup", tmp_path / "some.db")
    said = runs.run("restore", f"latest:{tmp_path}/some.db", "--into", f"etcd://{tmp_path}/data", exit_code=1)
    assert "is no snapshot of etcd" in said
    assert not (tmp_path / "data").exists()
    assert runs.leftovers() == []


def test_checksum(tmp_path: Path) -> None:
    """Each way in which a snapshot can be cut or changed is seen."""
    path = tmp_path / "snapshot.db"
    whole = b"a" * 1024
    for content, words in (
        (whole, "no checksum"),
        (b"", "no checksum"),
        (b"x" * 32, "no checksum"),
        (whole + b"x" * 32, "another one"),
    ):
        path.write_bytes(content)
        assert words in str(checksum.problem(str(path)))


def test_temporary_snapshot_is_private(server: EtcdServer, tmp_path: Path) -> None:
    """It holds all that the cluster keeps secret."""
    request = SourceRequest([f"//127.0.0.1:{server.port}"], {"tmpdir": str(tmp_path)})
    with closing(EtcdSource.open(request)):
        [folder] = tmp_path.glob("limpet-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("localhost:2379", "not of the form"),
        ("//root:secret@localhost", "holds a password"),
        ("//localhost/key", "leave out 'key'"),
        ("//localhost?cacert=/nowhere.pem", "there is no file /nowhere.pem"),
        ("//localhost?prefix=x", "'prefix' is not known"),
        ("//localhost?password_file=/nowhere", "cannot read"),
    ],
)
def test_addresses_that_make_no_sense(rest: str, words: str) -> None:
    """Said before anything is done, and without a password that is in it."""
    with pytest.raises(UsageError, match=words) as refused:
        EtcdSource.open(SourceRequest([rest]))
    assert "secret" not in str(refused.value)


def test_one_server_twice() -> None:
    """Two snapshots cannot be in one place."""
    with pytest.raises(UsageError, match="named twice"):
        EtcdSource.open(SourceRequest(["//localhost", "//localhost"]))


@pytest.mark.parametrize(
    ("place", "words"),
    [("//localhost:2379", "no server takes one"), ("///", "new data folder"), ("///usr", "there already is /usr")],
)
def test_places_that_make_no_sense(place: str, words: str) -> None:
    """A running cluster cannot take a snapshot, and a folder that is there may be one's."""
    with pytest.raises(UsageError, match=words):
        EtcdDestination.open(DestinationRequest(place))
