"""A restore that is cut leaves no half a database, whoever cut it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hooks.desk import Desk, made_desk
from tests.services.postgres_server import PostgresServer
from tests.services.waiting import wait_for

BIG_TABLE = """
CREATE UNLOGGED TABLE big AS
SELECT g AS id, repeat(md5(g::text), 60) AS text FROM generate_series(1, 60000) g
"""
LOADING = "SELECT count(*) FROM pg_stat_progress_copy WHERE datname = 'copy' AND bytes_processed > 4000000"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with a database of 115 MB."""
    server = PostgresServer()
    server.sql("CREATE DATABASE shop")
    server.sql(BIG_TABLE, "shop")
    yield server
    server.close()


@pytest.fixture(scope="module")
def desk(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A snapshot of it in each format."""
    desk = made_desk(tmp_path_factory.mktemp("desk"))
    for name in ("plain", "custom"):
        done = desk.limpet("backup", "--tag", name, server.address("shop", query=f"?format={name}"))
        assert done.returncode == 0, done.stderr
    return desk


@pytest.mark.parametrize(("dump_format", "tool"), [("plain", "psql"), ("custom", "pg_restore")])
def test_killed_tool(dump_format: str, tool: str, server: PostgresServer, desk: Desk) -> None:
    """The tool's end is told as it was, and the database that was made for the dump is gone."""
    process = loading(desk, server, dump_format)
    [pid] = [pid for pid in children(process.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == tool]
    os.kill(pid, signal.SIGKILL)
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"command {tool} failed: signal: killed" in err
    assert "copy" not in databases(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_restore(number: signal.Signals, server: PostgresServer, desk: Desk) -> None:
    """A psql that sees the end of its input would otherwise take the half for all, and commit it."""
    process = loading(desk, server, "plain")
    tools = children(process.pid)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not [pid for pid in tools if Path(f"/proc/{pid}").exists()]
    assert "copy" not in databases(server)


def test_killed_restore(server: PostgresServer, desk: Desk) -> None:
    """SIGKILL, or no memory left: psql's input ends as after a whole dump, and half of it must not be committed."""
    process = loading(desk, server, "plain")
    process.kill()
    process.communicate(timeout=60)
    clients = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy'"
    wait_for(lambda: server.sql(clients).strip() == "0", "the end of psql")
    assert "big" not in server.sql("SELECT relname FROM pg_class", "copy")
    server.sql("DROP DATABASE copy")


@pytest.mark.parametrize("dump_format", ["plain", "custom"])
def test_database_that_was_there_stays_empty(dump_format: str, server: PostgresServer, desk: Desk) -> None:
    """It is not ours to drop; what was loaded into it is undone."""
    server.sql("CREATE DATABASE copy")
    process = loading(desk, server, dump_format)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert "copy" in databases(server)
    wait_for(lambda: "big" not in server.sql("SELECT relname FROM pg_class", "copy"), "the end of the transaction")
    server.sql("DROP DATABASE copy")


def test_killed_server(server: PostgresServer, desk: Desk) -> None:
    """The new server goes down in mid-load: one line says so, and what cannot be undone any more is told, too."""
    new_server = PostgresServer()
    try:
        process = loading(desk, server, "plain", into=new_server)
        new_server.kill()
        _out, err = process.communicate(timeout=60)
    finally:
        new_server.close()
    assert process.returncode == 1
    [line] = [line for line in err.splitlines() if line.startswith("Fatal: ")]
    assert "command psql failed: exit status 2" in line
    assert "the database 'copy' was created, and cannot be dropped: " in err


def loading(
    desk: Desk, server: PostgresServer, dump_format: str, *, into: PostgresServer | None = None
) -> subprocess.Popen[str]:
    """A restore that has loaded a part of the table."""
    target = into or server
    process = desk.start("restore", "--tag", dump_format, "latest", "--into", target.address("copy"))

    def is_under_way() -> bool:
        assert process.poll() is None, process.communicate()
        return target.sql(LOADING) == "1\n"

    wait_for(is_under_way, "the loading of the table")
    return process


def children(pid: int) -> list[int]:
    """Of the process."""
    return [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]


def databases(server: PostgresServer) -> list[str]:
    """Their names."""
    return server.sql("SELECT datname FROM pg_database").split()
