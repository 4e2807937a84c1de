"""MariaDB as a source: a whole and stable dump as of one moment, or no snapshot and one line that says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import UsageError
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance, deliver
from limpet_source_mysql import MysqlSource

from tests.services.mariadb_server import MariadbServer
from tests.sources.mysql_shop import SECRET, address, contents, password_file
from tests.sources.runs import PASSWORD, Runs

RESTIC = Path(os.environ.get("LIMPET_RESTIC", "restic"))


class TestMysqlSource(SourceConformance):
    """What every source must do."""

    @pytest.fixture
    def source(self, server: MariadbServer) -> Iterator[Source]:
        opened = MysqlSource.open(SourceRequest([address(server).removeprefix("mysql:")]))
        yield opened
        opened.close()

    @pytest.fixture
    def bad_request(self, server: MariadbServer) -> SourceRequest:
        return SourceRequest([address(server, "missing").removeprefix("mysql:")])


def test_a_database_is_a_file(server: MariadbServer, runs: Runs) -> None:
    """Where a dump is must be known to whoever restores it, by either name of the scheme."""
    runs.backup(address(server))
    first = runs.restored("/mysql/localhost/shop.sql")
    assert first.endswith(b"-- Dump completed\n")
    runs.backup(address(server).replace("mysql:", "mariadb:"))
    assert runs.restored("/mysql/localhost/shop.sql") == first


def test_unchanged_adds_nothing(server: MariadbServer, runs: Runs) -> None:
    """A date or a counter in a dump would store all that it is next to, every night."""
    sources = [address(server), address(server, "")]
    first = runs.backup(*sources)
    second = runs.backup(*sources)
    assert first["data_blobs"] > 2
    assert second["data_blobs"] == 0


def test_a_row_adds_little(server: MariadbServer, runs: Runs) -> None:
    """A new row in front of a large table must not store the table again: what deduplication is for."""
    server.sql("CREATE DATABASE grows; CREATE TABLE grows.t (id INT PRIMARY KEY, a CHAR(32), b BLOB)")
    server.sql("INSERT INTO t SELECT seq + 100, MD5(seq), UNHEX(SHA1(seq)) FROM seq_1_to_100000", "grows")
    first = runs.backup(address(server, "grows"))
    server.sql("INSERT INTO grows.t VALUES (1, 'new', 'row'); DELETE FROM grows.t WHERE id = 150")
    second = runs.backup(address(server, "grows"))
    server.sql("DROP DATABASE grows")
    assert first["data_added"] > 8_000_000
    assert second["data_added"] < first["data_added"] / 3


@pytest.mark.interop
def test_restic_restores_it(server: MariadbServer, runs: Runs, tmp_path: Path) -> None:
    """Nobody is locked in: restic restores the file, and the client of the database loads it."""
    runs.backup(address(server))
    restic = Restic(RESTIC)
    restic.run("check", "--read-data", repo=runs.repository, password=PASSWORD)
    restic.run("restore", "latest", "--target", tmp_path / "restored", repo=runs.repository, password=PASSWORD)
    server.sql("CREATE DATABASE by_hand CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    with (tmp_path / "restored/mysql/localhost/shop.sql").open("rb") as dump:
        command = ["mariadb", "--no-defaults", "--comments", f"--socket={server.socket}", "--user=root", "by_hand"]
        subprocess.run(command, stdin=dump, check=True)
    assert contents(server, "by_hand") == contents(server, "shop")
    server.sql("DROP DATABASE by_hand")


def test_a_dump_is_of_one_moment(server: MariadbServer, runs: Runs) -> None:
    """Money moved between two tables while both are dumped is in one of them, never in both or in none."""
    server.sql(
        "CREATE DATABASE bank; CREATE TABLE bank.a (id INT PRIMARY KEY, money INT, pad BLOB);"
        " CREATE TABLE bank.z LIKE bank.a; USE bank;"
        " INSERT INTO a SELECT seq, 100, REPEAT('x', 300) FROM seq_0_to_4999;"
        " INSERT INTO bank.z SELECT * FROM bank.a"
    )
    moves = "".join(
        f"START TRANSACTION; UPDATE bank.a SET money = money - 7 WHERE id = {number % 4999};"
        f" UPDATE bank.z SET money = money + 7 WHERE id = {number * 7 % 4999}; COMMIT;\n"
        for number in range(100)
    )
    done, moved = threading.Event(), threading.Event()

    def write() -> None:
        while not done.is_set():
            server.sql(moves)
            moved.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        moved.wait(60)
        for _ in range(2):
            runs.backup(address(server, "bank"))
    finally:
        done.set()
        writer.join()
    for snapshot in sorted((runs.repository / "snapshots").iterdir()):
        dump = runs.restored("/mysql/localhost/bank.sql", snapshot.name).decode()
        server.sql("DROP DATABASE IF EXISTS bank_copy; CREATE DATABASE bank_copy")
        server.sql(dump, "bank_copy")
        question = "SELECT SUM(money), COUNT(*) FROM (SELECT * FROM a UNION ALL SELECT * FROM z) AS both_of_them"
        assert server.sql(question, "bank_copy") == ["1000000\t10000"]
    server.sql("DROP DATABASE bank; DROP DATABASE bank_copy")


def test_some_tables(server: MariadbServer, runs: Runs) -> None:
    """A table that is left out is not stored, and a choice of tables is no file that is taken for the whole."""
    runs.backup(address(server, more="&exclude_tables=kinds,log"), address(server, more="&tables=orders,child"))
    rest = runs.restored("/mysql/localhost/shop.sql")
    assert b"CREATE TABLE `orders`" in rest
    assert b"CREATE TABLE `kinds`" not in rest
    assert b"CREATE DEFINER=`root`@`localhost` PROCEDURE `fill`" in rest
    some = runs.restored("/mysql/localhost/shop/orders,child.sql")
    assert b"CREATE TABLE `child`" in some
    assert b"CREATE TABLE `kinds`" not in some
    assert b"PROCEDURE" not in some


def test_a_copy_of_the_files_becomes_a_server(server: MariadbServer, runs: Runs, tmp_path: Path) -> None:
    """A physical copy is worth what a server makes of it: unpacked, prepared and started as the README says."""
    before = contents(server, "shop")
    runs.backup(f"mysql://root@localhost?socket={server.socket}&method=mariabackup")
    data = tmp_path / "data"
    data.mkdir()
    stream = runs.restored("/mysql/localhost/mariabackup.xbstream")
    subprocess.run(["mbstream", "-x", "-C", data], input=stream, check=True)
    prepare = ["mariadb-backup", "--prepare", f"--target-dir={data}"]
    subprocess.run(prepare, capture_output=True, check=True)
    with MariadbServer(tmp_path / "second", data=data) as second:
        assert contents(second, "shop") == before


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("//root:hunter2@localhost/shop", "holds a password"),
        ("shop", "not of the form"),
        ("//localhost/shop?table=x", "'table' is not known"),
        ("//localhost/shop?method=copy", "no method is called 'copy'"),
        ("//localhost/shop?method=mariabackup", "leave out the database"),
        ("//localhost/?tables=x", "none is named"),
        ("//localhost/shop?tables=a,,b", "NAME,NAME"),
        ("//localhost/shop?tables=a&exclude_tables=b", "both given"),
        ("//localhost/shop?defaults_file=/nowhere", "cannot be read"),
        ("//localhost/shop?password_file=/nowhere", "No such file"),
    ],
)
def test_wrong_addresses(rest: str, words: str) -> None:
    """A mistake is told before anything runs, and a password that was given is not repeated."""
    with pytest.raises(UsageError, match=words) as caught:
        MysqlSource.open(SourceRequest([rest]))
    assert "hunter2" not in str(caught.value)


def test_names_of_databases_are_safe_paths(server: MariadbServer) -> None:
    """A name that leads out of its folder, or into another's file, would be restored there."""
    names = {"a%2Fb": "/mysql/localhost/a%2Fb.sql", "..": "/mysql/localhost/...sql", "%25": "/mysql/localhost/%25.sql"}
    names["all-databases"] = "/mysql/localhost/all%2Ddatabases.sql"
    names[""] = "/mysql/localhost/all-databases.sql"
    for name, path in names.items():
        assert MysqlSource.open(SourceRequest([f"//localhost/{name}"])).snapshot_paths == [path]
    source = MysqlSource.open(SourceRequest(["//db1:3307/..?tables=a/b,%252C"]))
    assert source.snapshot_paths == ["/mysql/db1:3307/%2E%2E/a%2Fb,%2C.sql".replace("%2C.", "%252C.")]


def test_mysqls_own_program(server: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL's mysqldump needs to be told of what MariaDB's does not know. A stand-in: MySQL is not to be had here."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/mysqldump"
    program.write_text(f"""#!/bin/sh
case $1 in --version) echo 'mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)'; exit;; esac
printf '%s\\n' "$@" > {tmp_path}/arguments
printf '%s' "$MYSQL_PWD" > {tmp_path}/password_seen
echo '-- MySQL dump 10.13'
echo '-- Dump completed'
""")
    program.chmod(0o755)
    (tmp_path / "bin/mysql").symlink_to(str(shutil.which("mariadb")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    password = password_file(tmp_path)
    rest = address(server, user="app", more=f"&password_file={password}").removeprefix("mysql:")
    deliver(MysqlSource, SourceRequest([rest]))
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert {"--set-gtid-purged=OFF", "--column-statistics=0", "--single-transaction", "--skip-dump-date"} < set(
        arguments
    )
    assert arguments[-2:] == ["--", "shop"]
    assert (tmp_path / "password_seen").read_text() == SECRET


def test_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said before anything is stored."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"mysqldump is not in .*mariadb-client"):
        MysqlSource.open(SourceRequest(["//localhost/shop"]))
    with pytest.raises(UsageError, match=r"mariabackup is not in .*mariadb-backup"):
        MysqlSource.open(SourceRequest(["//localhost?method=mariabackup"]))
