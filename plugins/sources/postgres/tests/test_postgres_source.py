"""PostgreSQL as a source, on a real server: what is saved, and how much of it is new the next time."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.format.node import NodeType
from limpet.operations.backup import BackupResult
from limpet.operations.walk import walk
from limpet.testing.backups import BackupScene
from limpet.testing.listening import Listening
from limpet.testing.source import SourceConformance
from limpet_source_postgres import PostgresSource
from limpet_source_postgres.archive import HEADER_SIZE, fixed_header
from limpet_source_postgres.tools import restrict_key

from tests.services.postgres_server import PostgresServer
from tests.services.process import free_port

MANY_ROWS = "CREATE TABLE many AS SELECT g AS id, repeat(md5(g::text), 4) AS text FROM generate_series(1, 150000) g"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with a database of 20 MB."""
    server = PostgresServer()
    server.sql("CREATE DATABASE shop")
    server.sql(MANY_ROWS, "shop")
    yield server
    server.close()


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """A repository."""
    return BackupScene(tmp_path / "work")


class TestOneDatabase(SourceConformance):
    """In pg_dump's own format, whose beginning is changed on its way."""

    @pytest.fixture
    def source(self, server: PostgresServer) -> Iterator[Source]:
        """A small one."""
        source = opened(server.address("postgres", query="?format=custom"))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, server: PostgresServer) -> SourceRequest:
        """No such database."""
        return request(server.address("missing"))


class TestServer(SourceConformance):
    """All databases, and what belongs to none: known only once the server was asked."""

    @pytest.fixture
    def source(self, server: PostgresServer) -> Iterator[Source]:
        """A few databases."""
        source = opened(server.address())
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """Nobody listens there."""
        return request(f"postgres://127.0.0.1:{free_port()}/")


@pytest.mark.parametrize("what", ["shop?format=plain", "shop?format=custom", ""])
def test_what_is_unchanged_adds_nothing(what: str, server: PostgresServer, scene: BackupScene) -> None:
    """A time or a random key in a dump, or compression, would store a large database anew every night."""
    assert backup(scene, server.address(what)).stored.data_blobs > 0
    assert backup(scene, server.address(what)).stored.data_blobs == 0


def test_small_change_adds_little(server: PostgresServer, scene: BackupScene) -> None:
    """The reason to dump uncompressed text: one changed row costs its surroundings, not the table."""
    server.sql("CREATE DATABASE changing")
    server.sql(MANY_ROWS, "changing")
    first = backup(scene, server.address("changing"))
    server.sql("UPDATE many SET text = 'changed' WHERE id = 75000", "changing")
    second = backup(scene, server.address("changing"))
    server.sql("DROP DATABASE changing")
    assert 0 < second.stored.data_blobs <= 4
    assert second.stored.added_bytes < first.stored.added_bytes / 2


def test_paths(server: PostgresServer, scene: BackupScene) -> None:
    """Whoever looks for a database in a snapshot looks for its server and its name."""
    result = backup(scene, server.address("postgres"), server.address("shop", query="?format=custom"))
    files = [f"{server.snapshot_folder}/{name}" for name in ("postgres.sql", "shop.dump")]
    assert paths(scene, result) == files
    assert result.paths == files


def test_whole_server_is_one_series(server: PostgresServer, scene: BackupScene) -> None:
    """A database more would otherwise begin a new series, and what `forget` keeps of the old one stays for ever."""
    before = backup(scene, server.address())
    server.sql("CREATE DATABASE one_more")
    after = backup(scene, server.address())
    server.sql("DROP DATABASE one_more")
    assert before.paths == after.paths == [server.snapshot_folder]
    assert set(paths(scene, after)) - set(paths(scene, before)) == {f"{server.snapshot_folder}/one_more.sql"}


def test_closed_database_is_told_of(server: PostgresServer) -> None:
    """What nobody can connect to cannot be dumped, but may be what somebody relies on."""
    server.sql("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    reporter = Listening()
    source = PostgresSource.open(SourceRequest([server.address().removeprefix("postgres:")], reporter=reporter))
    source.targets()
    server.sql("DROP DATABASE closed")
    [warning] = reporter.warnings
    assert warning.endswith("left out: closed")


def test_without_owners_and_role_passwords(server: PostgresServer) -> None:
    """A server that has other roles, or that does not show passwords, is saved too."""
    server.sql("CREATE ROLE keeper PASSWORD 'pass'")
    server.sql("CREATE TABLE kept (); ALTER TABLE kept OWNER TO keeper")
    for is_wanted in (True, False):
        options = {"owners": is_wanted, "role_passwords": is_wanted}
        with_options = SourceRequest([server.address().removeprefix("postgres:")], options)
        source = PostgresSource.open(with_options)
        content = {target.path.rpartition(b"/")[2]: read(target.entry.stream) for target in source.targets()}
        source.finish()
        source.close()
        assert (b"OWNER TO keeper" in content[b"postgres.sql"]) == is_wanted
        assert (b"SCRAM-SHA-256" in content[b"globals.sql"]) == is_wanted
    server.sql("DROP TABLE kept; DROP ROLE keeper")


def test_time_of_an_archive(server: PostgresServer) -> None:
    """Only the time is changed: pg_restore reads the archive as before, and shows the fixed one."""
    environment = {**os.environ, **server.environment}
    archive = subprocess.run(["pg_dump", "-Fc", "-Z0", "shop"], env=environment, capture_output=True, check=True).stdout
    changed = fixed_header(archive[:HEADER_SIZE]) + archive[HEADER_SIZE:]
    assert len(changed) == len(archive)
    listed = subprocess.run(
        ["pg_restore", "-l"], input=changed, capture_output=True, check=True, env={**environment, "TZ": "UTC"}
    ).stdout.decode()
    assert "Archive created at 2000-01-01 00:00:00" in listed
    script = [
        subprocess.run(["pg_restore", "-f", "-", "--restrict-key=x"], input=one, capture_output=True, check=True).stdout
        for one in (archive, changed)
    ]
    assert script[0] == script[1]


@pytest.mark.parametrize(("minor", "compression"), [(14, struct.pack("<Bi", 0, 0)), (15, b"\0"), (16, b"\0")])
def test_headers_of_other_versions(minor: int, compression: bytes) -> None:
    """PostgreSQL 16 began to name the compression in another way, which moves the time in the header."""
    times = [(59, 59, 23, 31, 11, 126, 0), (0, 0, 0, 1, 0, 100, 0)]
    before, after = (
        b"PGDMP"
        + bytes([1, minor, 0, 4, 8, 1])
        + compression
        + struct.pack("<" + "Bi" * 7, *sum(((0, n) for n in one), ()))
        for one in times
    )
    name = b"\0\4\0\0\0shop"
    assert fixed_header((before + name)[:HEADER_SIZE]) == (after + name)[:HEADER_SIZE]


@pytest.mark.parametrize("head", [b"", b"PGDMP", b"PGDMP" + bytes(HEADER_SIZE), b"\xff" * HEADER_SIZE, b"-- SQL" * 20])
def test_other_heads_stay(head: bytes) -> None:
    """What is not understood is not meddled with."""
    assert fixed_header(head) == head


def test_restrict_key() -> None:
    """One that is known beforehand lets the owner of a dumped server run commands where the dump is restored."""
    assert restrict_key(None, "/postgres/a") == restrict_key(None, "/postgres/a")
    assert restrict_key(None, "/postgres/a") != restrict_key(None, "/postgres/b")
    assert restrict_key(None, "/postgres/a").isalnum()
    assert restrict_key("mine", "/postgres/a") == "mine"


def request(address: str) -> SourceRequest:
    """For one argument."""
    return SourceRequest([address.removeprefix("postgres:")])


def opened(*addresses: str) -> Source:
    """A source of these arguments."""
    return PostgresSource.open(SourceRequest([address.removeprefix("postgres:") for address in addresses]))


def backup(scene: BackupScene, *addresses: str) -> BackupResult:
    """A backup of these arguments."""
    source = opened(*addresses)
    try:
        return scene.backup(source)
    finally:
        source.close()


def paths(scene: BackupScene, result: BackupResult) -> list[str]:
    """All files of a snapshot."""
    return [os.fsdecode(path) for path, node in walk(scene.open(), result.tree) if node.type is NodeType.FILE]


def read(stream: Callable[[], BinaryIO] | None) -> bytes:
    """All of it."""
    assert stream is not None
    with stream() as opened_stream:
        return opened_stream.read()
