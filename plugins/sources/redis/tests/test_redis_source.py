"""Redis as a source: all that a server holds as of one moment, or no snapshot and one line that says why."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import UsageError
from limpet.testing.certificates import identity
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance
from limpet_source_redis import RedisSource

from tests.services.process import free_port
from tests.services.redis_server import RedisServer
from tests.sources.recorded import record_calls, recorded_calls
from tests.sources.redis_shop import contents, started_from
from tests.sources.runs import PASSWORD, Runs, command_lines, running, wait_until

SECRET = "pass word'\"\\ü"
RESTIC = Path(os.environ.get("LIMPET_RESTIC", "restic"))
RDB = "/redis/localhost/dump.rdb"
DUMP = "redis://localhost/: command redis-cli"


def address(server: RedisServer, more: str = "") -> str:
    """By the socket."""
    return f"redis://localhost?socket={server.socket}{more}"


class TestRedisSource(SourceConformance):
    """What every source must do."""

    @pytest.fixture
    def source(self, server: RedisServer) -> Iterator[Source]:
        opened = RedisSource.open(SourceRequest([address(server).removeprefix("redis:")]))
        yield opened
        opened.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        return SourceRequest([f"//127.0.0.1:{free_port()}"])


def test_a_server_is_a_file(server: RedisServer, runs: Runs, tmp_path: Path) -> None:
    """Whoever has the file has the data: a new server starts with it."""
    runs.backup(address(server), f"redis://127.0.0.1:{server.port}")
    rdb = runs.restored(RDB)
    assert runs.restored(f"/redis/127.0.0.1:{server.port}/dump.rdb") == rdb
    with started_from(rdb, tmp_path / "second") as second:
        assert contents(second) == contents(server)


def test_unchanged_adds_nothing(server: RedisServer, runs: Runs) -> None:
    """A time or a counter in the file would store what is next to it again, every hour."""
    first = runs.backup(address(server))
    second = runs.backup(address(server))
    assert first["data_blobs"] > 0
    assert second["data_blobs"] == 0


@pytest.mark.interop
def test_restic_restores_it(server: RedisServer, runs: Runs, tmp_path: Path) -> None:
    """Nobody is locked in: restic restores the file."""
    runs.backup(address(server))
    restic = Restic(RESTIC)
    restic.run("check", "--read-data", repo=runs.repository, password=PASSWORD)
    restic.run("restore", "latest", "--target", tmp_path / "restored", repo=runs.repository, password=PASSWORD)
    with started_from((tmp_path / f"restored{RDB}").read_bytes(), tmp_path / "second") as second:
        assert contents(second) == contents(server)


def test_a_dump_is_of_one_moment(runs: Runs, tmp_path: Path) -> None:
    """Two counters that change together are the same in the file, whatever is written meanwhile."""
    with RedisServer(tmp_path / "server") as busy:
        client, done, counted = busy.client(), threading.Event(), threading.Event()
        client.mset({f"pad:{number}": "x" * 100 for number in range(10000)})

        def write() -> None:
            while not done.is_set():
                client.pipeline(transaction=True).incr("a").set("between", "x" * 1000).incr("z").execute()
                counted.set()

        writer = threading.Thread(target=write)
        writer.start()
        try:
            counted.wait(60)
            runs.backup(address(busy))
        finally:
            done.set()
            writer.join()
        with started_from(runs.restored(RDB), tmp_path / "second") as second:
            one, other = second.client().mget("a", "z")
            assert one == other
            assert int(one) > 0


def test_passwords_show_nowhere(runs: Runs, tmp_path: Path) -> None:
    """Every user of the machine can read command lines; snapshots and messages go to others still."""
    (tmp_path / "password").write_text(f"{SECRET}\n")
    (tmp_path / "wrong").write_text("pass word 2")
    with RedisServer(tmp_path / "server", requirepass=SECRET) as locked, command_lines() as seen:
        locked.client().set("a", "b")
        locked.client().execute_command("ACL", "SETUSER", "backup", "on", f">{SECRET}2", "+psync", "+sync", "+replconf",
                                        "+ping")  # fmt: skip
        (tmp_path / "second").write_text(f"{SECRET}2")
        target = f"redis://127.0.0.1:{locked.port}"
        runs.variables |= record_calls(tmp_path, "redis-cli")
        said = [
            runs.run("backup", "-v", f"{target}?password_file={tmp_path}/password"),
            runs.run("backup", "-v", "-o", f"redis.password_command=cat {tmp_path}/password", target),
            runs.run("backup", "-v", f"redis://backup@127.0.0.1:{locked.port}?password_file={tmp_path}/second"),
        ]
        runs.variables["REDISCLI_AUTH"] = SECRET
        said.append(runs.run("backup", "-v", target))
        del runs.variables["REDISCLI_AUTH"]
        assert "Authentication required" in runs.refused(target)
        wrong = runs.refused(f"{target}?password_file={tmp_path}/wrong")
        assert "invalid username-password pair" in wrong
    calls = recorded_calls(tmp_path)
    assert calls.count("redis-cli") == 4
    assert not [word for word in calls if "pass word" in word]
    # The server's own command line holds its password: that is how this test starts it.
    assert not [line for line in seen if b"pass word" in line and b"redis-server" not in line]
    assert not [text for text in [*said, wrong] if "pass word" in text]


def test_over_tls(runs: Runs, tmp_path: Path) -> None:
    """What goes over a network goes encrypted, to a server whose certificate was looked at."""
    who = identity("redis")
    (tmp_path / "cert").write_bytes(who.certificate)
    (tmp_path / "key").write_bytes(who.key_pem())
    (tmp_path / "other").write_bytes(identity("other").certificate)
    port = free_port()
    with RedisServer(
        tmp_path / "server", tls_port=str(port), tls_cert_file=f"{tmp_path}/cert", tls_key_file=f"{tmp_path}/key",
        tls_auth_clients="no",
    ) as server:  # fmt: skip
        server.client().set("a", "b")
        runs.backup(f"redis://127.0.0.1:{port}?cacert={tmp_path}/cert")
        assert b"\x01a\x01b" in runs.restored(f"/redis/127.0.0.1:{port}/dump.rdb")
        assert "certificate" in runs.refused(f"redis://127.0.0.1:{port}?cacert={tmp_path}/other")
        server.client().flushall()
        runs.run("restore", "latest", "--into", f"redis://127.0.0.1:{port}?cacert={tmp_path}/cert")
        assert server.client().get("a") == b"b"


def test_what_cannot_be_reached(server: RedisServer, runs: Runs, tmp_path: Path) -> None:
    """A server that is down, or one that lets nobody copy it: one line, and nothing that looks like a backup."""
    assert "Connection refused" in runs.refused(f"redis://127.0.0.1:{free_port()}")
    assert "No such file" in runs.refused(f"redis://localhost?socket={tmp_path}/none")
    client = server.client()
    client.execute_command("ACL", "SETUSER", "guest", "on", ">x", "+ping", "~*")
    (tmp_path / "x").write_text("x")
    target = f"redis://guest@localhost?socket={server.socket}&password_file={tmp_path}/x"
    assert "NOPERM" in runs.refused(target)
    client.execute_command("ACL", "DELUSER", "guest")


def test_a_server_killed_amid_its_dump(runs: Runs, tmp_path: Path) -> None:
    """The stream is cut, and what there is of it was written without complaint."""
    with slow_dump(runs, tmp_path) as (server, process):
        server.process.kill()
        runs.failure(process, DUMP)
    server.close()


def test_a_dump_program_killed(runs: Runs, tmp_path: Path) -> None:
    """The memory killer takes redis-cli, not the backup: what was sent until then is no backup."""
    with slow_dump(runs, tmp_path) as (server, process):
        [pid] = dump_pids(server)
        os.kill(pid, signal.SIGKILL)
        assert "signal: killed" in runs.failure(process, DUMP)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_backup_leaves_nothing(number: int, runs: Runs, tmp_path: Path) -> None:
    """A redis-cli that goes on has the server hold memory for what it does not read."""
    with slow_dump(runs, tmp_path) as (server, process):
        process.send_signal(number)
        said = "".join(process.communicate(timeout=100))
        assert process.returncode not in {0, 3}, said
        assert (runs.snapshot_count(), runs.leftovers()) == (0, [])
        wait_until(lambda: not dump_pids(server))


@contextmanager
def slow_dump(runs: Runs, folder: Path) -> Iterator[tuple[RedisServer, subprocess.Popen[str]]]:
    """A backup in the middle of the dump of a server that takes its time for every key, in minutes for all."""
    with RedisServer(folder / "slow", rdb_key_save_delay="10000") as server:
        server.client().mset({f"key:{number}": os.urandom(500) for number in range(5000)})
        process = runs.start("backup", address(server))
        wait_until(lambda: server.client().info("persistence")["current_save_keys_processed"] > 100)
        assert process.poll() is None, "".join(process.communicate())
        try:
            yield server, process
        finally:
            process.kill()
            process.communicate()


def dump_pids(server: RedisServer) -> list[int]:
    """Dumps from this server."""
    return running("redis-cli", server.socket)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("//:hunter2@localhost", "holds a password"),
        ("localhost", "not of the form"),
        ("//localhost/3", "leave out the name '3'"),
        ("//localhost?db=3", "'db' is not known"),
        ("//anna@localhost", "anna has no password"),
        ("//localhost?tls=maybe", "neither true nor false"),
        ("//localhost?tls=true&socket=/x", "no TLS on a socket"),
        ("//localhost?cacert=/nowhere", "cannot be read"),
        ("//localhost?password_file=/nowhere", "No such file"),
    ],
)
def test_wrong_addresses(rest: str, words: str) -> None:
    """A mistake is told before anything runs, and a password that was given is not repeated."""
    with pytest.raises(UsageError, match=words) as caught:
        RedisSource.open(SourceRequest([rest]))
    assert "hunter2" not in str(caught.value)


def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said before anything is stored."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"redis-cli is not in .*redis-tools"):
        RedisSource.open(SourceRequest(["//localhost"]))
