"""A dump that is cut never becomes a snapshot, whoever cut it; and nothing goes on running afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.hooks.desk import Desk, made_desk
from tests.services.postgres_server import PostgresServer
from tests.services.waiting import wait_for

WELL_UNDER_WAY_BYTES = 4 << 20
BIG_TABLE = """
CREATE UNLOGGED TABLE big AS
SELECT g AS id, repeat(md5(g::text), 60) AS text FROM generate_series(1, 60000) g
"""
"""115 MB in a dump: its end is far away when its beginning has arrived."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with more than fits into pipes and buffers."""
    server = PostgresServer()
    server.sql("CREATE DATABASE shop")
    server.sql(BIG_TABLE, "shop")
    yield server
    server.close()


@pytest.fixture(scope="module")
def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A repository that nothing is wrong with after all that was cut off."""
    desk = made_desk(tmp_path_factory.mktemp("desk"))
    yield desk
    checked = desk.limpet("check", "--read-data")
    assert checked.returncode == 0, checked.stderr


@pytest.fixture
def desk(shared_desk: Desk) -> Iterator[Desk]:
    """A repository that gets no snapshot."""
    yield shared_desk
    assert shared_desk.snapshots() == 0


@pytest.mark.parametrize(
    ("what", "program"),
    [("shop", "pg_dump"), ("shop?format=custom", "pg_dump"), ("?method=basebackup", "pg_basebackup")],
)
def test_killed_tool(what: str, program: str, server: PostgresServer, desk: Desk) -> None:
    """The out-of-memory killer takes the tool in mid-dump; what it had written looks whole up to there."""
    process, tool = dumping(desk, server.address(what), program=program)
    os.kill(tool, signal.SIGKILL)
    line = fatal_line(process)
    assert f"command {program} failed: signal: killed" in line
    wait_for(lambda: not clients(server), "the end of the server's side")


def test_killed_server(desk: Desk) -> None:
    """The machine of the server goes down in mid-dump. pg_dump sees a connection that ends, and says so."""
    server = PostgresServer()
    try:
        server.sql(BIG_TABLE)
        process, _tool = dumping(desk, server.address("postgres"), program="pg_dump")
        server.kill()
        line = fatal_line(process)
        assert "command pg_dump failed: exit status 1" in line
        assert "server closed the connection unexpectedly" in line
    finally:
        server.close()


def test_killed_connection(server: PostgresServer, desk: Desk) -> None:
    """An administrator ends the one connection, or a proxy does; the server itself stays."""
    process, _tool = dumping(desk, server.address("shop"), program="pg_dump")
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'")
    assert "command pg_dump failed: exit status 1" in fatal_line(process)


def test_killed_server_beside_files(shared_desk: Desk) -> None:
    """With --allow-partial the files are saved, and the half of the database is not."""
    server = PostgresServer()
    try:
        server.sql(BIG_TABLE)
        arguments = ["--allow-partial", str(shared_desk.work), server.address("postgres")]
        process, _tool = dumping(shared_desk, *arguments, program="pg_dump")
        server.kill()
        _out, err = process.communicate(timeout=60)
    finally:
        server.close()
    listed = shared_desk.limpet("ls", "latest").stdout.partition("\n")[2]
    assert shared_desk.limpet("forget", *os.listdir(shared_desk.repository / "snapshots")).returncode == 0
    assert process.returncode == 3, err
    assert "left out of the snapshot: " in err
    assert "/letter\n" in listed
    assert "postgres.sql" not in listed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_backup(number: signal.Signals, server: PostgresServer, desk: Desk) -> None:
    """A dump that goes on alone holds its locks, and the next change of a table waits for it."""
    process, tool = dumping(desk, server.address("shop"), program="pg_dump")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not Path(f"/proc/{tool}").exists()
    wait_for(lambda: not clients(server), "the end of the server's side")


def test_dump_of_a_table_that_is_locked(server: PostgresServer, desk: Desk) -> None:
    """With lock_timeout a backup at night does not wait for somebody who went home."""
    server.sql("CREATE TABLE held ()")
    with server.locked("held"):
        done = desk.limpet("backup", server.address("postgres"), "-o", "postgres.lock_timeout=300ms")
    server.sql("DROP TABLE held")
    assert done.returncode == 1
    assert "LOCK TABLE public.held" in done.stderr
    assert "statement timeout" in done.stderr


def dumping(desk: Desk, *arguments: str, program: str) -> tuple[subprocess.Popen[str], int]:
    """A backup, and the process id of its dumping tool, which has written a part of the dump."""
    process = desk.start("backup", *arguments)
    tools: list[int] = []

    def is_under_way() -> bool:
        assert process.poll() is None, process.communicate()
        tools[:] = [pid for pid in descendants(process.pid) if name_of(pid) == program]
        return bool(tools) and written_bytes(tools[0]) > WELL_UNDER_WAY_BYTES

    wait_for(is_under_way, "the beginning of a dump")
    return process, tools[0]


def fatal_line(process: subprocess.Popen[str]) -> str:
    """The one line of a backup that failed."""
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    [line] = [line for line in err.splitlines() if line.startswith("Fatal: ")]
    return line


def clients(server: PostgresServer) -> str:
    """Who is still connected besides us."""
    return server.sql("SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'pg_%'").strip()


def descendants(pid: int) -> Sequence[int]:
    """Children of the process, and theirs."""
    try:
        children = [
            int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()
        ]
    except OSError:
        return []
    return [*children, *(below for child in children for below in descendants(child))]


def name_of(pid: int) -> str:
    """What the process is called; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def written_bytes(pid: int) -> int:
    """How much the process has written."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))
