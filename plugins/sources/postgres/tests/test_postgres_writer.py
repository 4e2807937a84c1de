"""Dumps of a database that is being written to: what is restored is the state of one moment."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.hooks.desk import PASSWORD, Desk, made_desk
from tests.services.postgres_server import PostgresServer, server_program
from tests.services.waiting import wait_for

ACCOUNTS = 20_000
TABLES = f"""
CREATE TABLE a_first AS SELECT g AS id, 100 AS amount, repeat('x', 500) AS filler FROM generate_series(1, {ACCOUNTS}) g;
CREATE TABLE z_last AS SELECT * FROM a_first;
CREATE INDEX ON a_first (id);
CREATE INDEX ON z_last (id);
"""
"""The second table is dumped after the first."""
TRANSFERS = f"""
DO $$ BEGIN
    FOR i IN 1..100000000 LOOP
        UPDATE a_first SET amount = amount - 1 WHERE id = i % {ACCOUNTS} + 1;
        UPDATE z_last SET amount = amount + 1 WHERE id = i % {ACCOUNTS} + 1;
        COMMIT;
    END LOOP;
END $$
"""
TOTAL = "SELECT (SELECT sum(amount) FROM a_first) + (SELECT sum(amount) FROM z_last)"
MOVED = f"SELECT {ACCOUNTS * 100} - sum(amount) FROM a_first"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server with two tables between which money is moved."""
    server = PostgresServer()
    server.sql("CREATE DATABASE bank")
    server.sql(TABLES, "bank")
    yield server
    server.close()


@pytest.mark.parametrize("what", ["bank", "bank?format=custom", "?method=basebackup"])
def test_dump_under_a_writer(what: str, server: PostgresServer, tmp_path: Path, restic_new: Restic) -> None:
    """Money that is moved in mid-dump must be in one of the tables, not in both or in none.

    The files of a running server are nothing without the log of what was written meanwhile.
    """
    desk = made_desk(tmp_path)
    with writing(server):
        before = moved(server)
        done = desk.limpet("backup", server.address(what))
        after = moved(server)
    assert done.returncode == 0, done.stderr
    if "basebackup" in what:
        assert "unpack it with tar" in desk.limpet("restore", "latest", "--into", server.address("copy")).stderr
        with started(desk, server, restic_new) as copy:
            total, restored = copy.sql(TOTAL, "bank"), moved(copy)
    else:
        done = desk.limpet("restore", "latest", "--into", server.address("copy"))
        assert done.returncode == 0, done.stderr
        total, restored = server.sql(TOTAL, "copy"), moved(server, "copy")
    assert int(total) == 2 * ACCOUNTS * 100
    assert before <= restored < after, "nothing was written meanwhile"


@contextmanager
def writing(server: PostgresServer) -> Iterator[None]:
    """Meanwhile the writer writes."""
    writer = subprocess.Popen(
        ["psql", "-Xq", "-c", TRANSFERS, "bank"],
        env={**os.environ, **server.environment, "PGAPPNAME": "writer"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # It says that it was ended.
    )
    try:
        wait_for(lambda: moved(server) > 0, "the first transfer")
        yield
    finally:
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'writer'")
        writer.wait()


@contextmanager
def started(desk: Desk, server: PostgresServer, restic: Restic) -> Iterator[PostgresServer]:
    """A server of its own on the files of the base backup, which restic restores."""
    target = desk.folder / "restored"
    restic.run("restore", "latest", "--target", target, repo=desk.repository, password=PASSWORD)
    unpacked = desk.folder / "unpacked"
    with tarfile.open(target / f"{server.snapshot_folder}/base.tar".lstrip("/")) as archive:
        archive.extractall(unpacked, filter="tar")
    subprocess.run([server_program("pg_verifybackup"), "-q", unpacked], check=True)
    copy = PostgresServer(data=unpacked)
    try:
        yield copy
    finally:
        copy.close()


def moved(server: PostgresServer, database: str = "bank") -> int:
    """How much has been moved."""
    return int(server.sql(MOVED, database))
