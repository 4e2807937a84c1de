"""The way back: everything of an RDB file in a running server, or a word about what is not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.destination import DestinationRequest, Piece, StoredFile
from limpet.errors import DestinationError, IntegrityError, UsageError
from limpet_source_redis import RedisDestination

from tests.services.redis_server import RedisServer
from tests.sources.redis_shop import contents
from tests.sources.runs import Runs, wait_until

RDB = "/redis/localhost/dump.rdb"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that has nothing."""
    with RedisServer(tmp_path / "target") as running:
        yield running


@pytest.fixture(scope="module")
def rdb(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of the server with everything."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    runs.backup(address(server))
    return runs.restored(RDB)


def address(server: RedisServer) -> str:
    """By the socket."""
    return f"redis://localhost?socket={server.socket}"


def restore(server: RedisServer, content: bytes, **options: bool) -> None:
    """As the core does it."""
    into = RedisDestination.open(DestinationRequest(address(server).removeprefix("redis:"), options))
    try:
        assert into.wanted([RDB]) == [RDB]
        into.receive(stored(content))
        into.finish()
    finally:
        into.close()


def stored(content: bytes, error: Exception | None = None) -> StoredFile:
    """A file of a snapshot, in two pieces, with an error after them if there is one."""

    def pieces() -> Iterator[Piece]:
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            yield Piece(len(part), memoryview(part))
        if error is not None:
            raise error

    return StoredFile(RDB, len(content), pieces)


def test_everything_comes_back(server: RedisServer, target: RedisServer, runs: Runs) -> None:
    """Every type and database, binary names, limits of time to the millisecond, functions; by the command line."""
    runs.backup(address(server))
    runs.run("restore", "latest", "--into", f"redis://127.0.0.1:{target.port}")
    assert contents(target) == contents(server)
    assert runs.leftovers() == []


def test_what_is_there_is_not_overwritten(server: RedisServer, target: RedisServer, rdb: bytes) -> None:
    """A restore into the wrong server would be the second disaster of the day."""
    target.client(3).set("mine", "precious")
    target.client().function_load("#!lua name=mine\nredis.register_function('f', function() return 1 end)")
    with pytest.raises(DestinationError, match=r"not empty \(1 keys in database 3, functions\).*redis.overwrite=true"):
        restore(target, rdb)
    assert target.client(3).get("mine") == b"precious"
    restore(target, rdb, overwrite=True)
    assert contents(target) == contents(server)


@pytest.mark.parametrize("position", [5, 200, -5])
def test_a_damaged_file_touches_nothing(target: RedisServer, rdb: bytes, position: int) -> None:
    """A file that our own server does not take does not get as far as the target."""
    damaged = bytearray(rdb)
    damaged[position] ^= 0x55
    with pytest.raises(DestinationError, match="redis-server cannot read the RDB file: "):
        restore(target, bytes(damaged))
    with pytest.raises(DestinationError, match="redis-server cannot read the RDB file: "):
        restore(target, rdb[: len(rdb) // 2])
    assert target.client().dbsize() == 0


def test_an_error_of_the_repository_touches_nothing(target: RedisServer, rdb: bytes) -> None:
    """What is damaged is told as damage."""
    into = RedisDestination.open(DestinationRequest(address(target).removeprefix("redis:")))
    with pytest.raises(IntegrityError, match="blob is damaged"):
        into.receive(stored(rdb, IntegrityError("blob is damaged")))
    into.close()
    assert target.client().dbsize() == 0


def test_a_target_without_room_is_told(rdb: bytes, tmp_path: Path) -> None:
    """Half of the keys are no restore, whether the server refuses the rest or drops what it had."""
    with (
        RedisServer(tmp_path / "small", maxmemory="2mb") as small,
        pytest.raises(DestinationError, match=r"redis://localhost/: key .*maxmemory"),
    ):
        restore(small, rdb)
    with (
        RedisServer(tmp_path / "cache", maxmemory="4500kb", maxmemory_policy="allkeys-random") as cache,
        pytest.raises(DestinationError, match=r"has dropped \d+ keys again"),
    ):
        restore(cache, rdb)


def test_a_target_that_takes_no_keys_is_told(target: RedisServer, rdb: bytes) -> None:
    """Why a server refuses is what the user needs to hear, and not the value that it refused."""
    target.client().execute_command("ACL", "SETUSER", "default", "-restore")
    with pytest.raises(DestinationError, match="no permissions") as caught:
        restore(target, rdb)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_an_empty_server_comes_back_empty(target: RedisServer, runs: Runs, tmp_path: Path) -> None:
    """A server that holds nothing is a content too."""
    with RedisServer(tmp_path / "empty") as empty:
        runs.backup(address(empty))
    runs.run("restore", "latest", "--into", address(target))
    assert contents(target) == {(-1, b""): []}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_restore_leaves_no_server(number: int, server: RedisServer, target: RedisServer, runs: Runs) -> None:
    """The server that reads the file holds all data, in memory and on disk: it must not outlive the run."""
    runs.backup(address(server))
    target.client().client_pause(1_000_000, all=False)  # nothing is written until then
    process = runs.start("restore", "latest", "--into", address(target))
    wait_until(lambda: bool(target.client().info("clients")["blocked_clients"]) or process.poll() is not None)
    assert process.poll() is None, "".join(process.communicate())
    assert scratch_servers(runs.temporary)
    process.send_signal(number)
    process.communicate(timeout=100)
    assert process.returncode != 0
    wait_until(lambda: not scratch_servers(runs.temporary) and not runs.leftovers())


def scratch_servers(folder: Path) -> list[bytes]:
    """Servers that run there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(path.readlink()).startswith(str(folder)):
                found.append(path.parent.joinpath("cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_wrong_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot work is refused before anything is touched."""
    into = RedisDestination.open(DestinationRequest("//localhost"))
    with pytest.raises(UsageError, match="no dump of Redis"):
        into.wanted(["/redis/localhost/dump.sql"])
    with pytest.raises(UsageError, match="more than one file"):
        into.wanted(["/redis/a/dump.rdb", "/redis/b/dump.rdb"])
    with pytest.raises(UsageError, match="leave out the name 'x'"):
        RedisDestination.open(DestinationRequest("//localhost/x"))
    with pytest.raises(DestinationError, match=r"redis://127.0.0.1:1/: .*Connection refused"):
        RedisDestination.open(DestinationRequest("//127.0.0.1:1")).receive(stored(b""))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"redis-server is not in .*install it"):
        RedisDestination.open(DestinationRequest("//localhost"))
