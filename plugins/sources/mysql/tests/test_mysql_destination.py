"""The way back: a dump of a real MariaDB server goes into a database of its own, whole or with a word about it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.destination import Destination, DestinationRequest, Piece, StoredFile
from limpet.contracts.options import OptionValue
from limpet.contracts.source import SourceRequest
from limpet.errors import DestinationError, IntegrityError, LimpetError, UsageError
from limpet_source_mysql import MysqlDestination, MysqlSource

from tests.services.mariadb_server import MariadbServer
from tests.sources.mysql_shop import contents, make_shop
from tests.sources.runs import Runs

PIECE_SIZE = 100_000
SHOP_FILE = "/mysql/localhost/shop.sql"


@pytest.fixture(scope="module")
def dump(server: MariadbServer) -> bytes:
    """That of the shop."""
    return dumped(server, "shop")


def dumped(server: MariadbServer, what: str, more: str = "") -> bytes:
    """What the source makes of a database."""
    source = MysqlSource.open(SourceRequest([f"//root@localhost/{what}?socket={server.socket}{more}"]))
    try:
        source.begin(None)
        [target] = source.targets()
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            content = stream.read()
        source.finish()
    finally:
        source.close()
    return content


def destination(server: MariadbServer, database: str, **options: OptionValue) -> MysqlDestination:
    """One that signs in as root."""
    place = f"//root@localhost/{database}?socket={server.socket}"
    return MysqlDestination.open(DestinationRequest(place, options))


def restore(into: Destination, content: bytes, path: str = SHOP_FILE) -> None:
    """As the core does it."""
    try:
        assert into.wanted([path]) == [path]
        into.receive(stored(content, path))
        into.finish()
    finally:
        into.close()


def stored(content: bytes, path: str, error: LimpetError | None = None) -> StoredFile:
    """A file of a snapshot, in pieces, with an error of the repository at its end if there is one."""

    def pieces() -> Iterator[Piece]:
        for begin in range(0, len(content), PIECE_SIZE):
            part = content[begin : begin + PIECE_SIZE]
            yield Piece(len(part), memoryview(part))
        if error is not None:
            raise error

    return StoredFile(path, len(content), pieces)


def drop(server: MariadbServer, *names: str) -> None:
    """Databases that a test made."""
    for name in names:
        server.sql(f"DROP DATABASE IF EXISTS `{name}`")


def test_everything_comes_back_into_another_database(server: MariadbServer, dump: bytes) -> None:
    """Every type, every kind of thing a database holds, and the original beside it left alone."""
    before = contents(server, "shop")
    drop(server, "shop-copy")
    restore(destination(server, "shop-copy"), dump)
    assert contents(server, "shop-copy") == before
    assert contents(server, "shop") == before


def test_by_the_command_line(server: MariadbServer, runs: Runs, tmp_path: Path) -> None:
    """What a user types: a snapshot with files and two databases, one of which goes into a copy."""
    (tmp_path / "file").write_text("x")
    source = f"mysql://root@localhost/shop?socket={server.socket}"
    runs.backup(tmp_path / "file", source, source.replace("?", "?tables=log&"))
    into = f"mariadb://root@127.0.0.1:{server.port}/by_command"
    drop(server, "by_command")
    assert "more than one file" in runs.run("restore", "latest", "--into", into, exit_code=1)
    runs.run("restore", f"latest:{SHOP_FILE}", "--into", into)
    assert contents(server, "by_command") == contents(server, "shop")
    assert "not empty" in runs.run("restore", f"latest:{SHOP_FILE}", "--into", into, exit_code=1)
    runs.run("restore", f"latest:{SHOP_FILE}", "-o", "mariadb.overwrite=true", "--into", into)
    assert runs.leftovers() == []


def test_the_copy_dumps_to_the_same_bytes(server: MariadbServer, dump: bytes) -> None:
    """A dump of what was restored tells of anything that a comparison of contents may have missed."""
    drop(server, "copy")
    restore(destination(server, "copy"), dump)
    assert dumped(server, "copy").replace(b"copy", b"shop") == dump


def test_what_is_there_is_not_overwritten(server: MariadbServer, dump: bytes) -> None:
    """A restore into the wrong database would be the second disaster of the day."""
    drop(server, "used")
    server.sql("CREATE DATABASE used; CREATE TABLE used.mine (a INT); INSERT INTO used.mine VALUES (1)")
    with pytest.raises(DestinationError, match=r"the database is not empty; .* -o mysql.overwrite=true"):
        restore(destination(server, "used"), dump)
    assert server.sql("SELECT * FROM used.mine; SHOW TABLES FROM used") == ["1", "mine"]
    restore(destination(server, "used", overwrite=True), dump)
    assert contents(server, "used") == contents(server, "shop")


def test_a_database_with_a_routine_alone_is_not_empty(server: MariadbServer, dump: bytes) -> None:
    """No tables does not mean that there is nothing to lose."""
    drop(server, "code")
    server.sql("CREATE DATABASE code; CREATE FUNCTION code.f() RETURNS INT RETURN 1")
    with pytest.raises(DestinationError, match="not empty"):
        restore(destination(server, "code"), dump)


def test_some_tables_replace_only_those(server: MariadbServer) -> None:
    """Bringing back one table must not take the others with it."""
    drop(server, "some")
    make_shop(server, "some")
    before = contents(server, "some")
    part = dumped(server, "some", "&tables=child,keyless")
    server.sql("DELETE FROM some.keyless; DROP TABLE some.child; DELETE FROM some.log")
    restore(destination(server, "some", overwrite=True), part, "/mysql/localhost/some/child,keyless.sql")
    assert contents(server, "some") == before


def test_names_that_need_quotes(server: MariadbServer) -> None:
    """A name is data: it must not become a part of a statement or an option."""
    name = "-we`ird 'ü\" \\ %"
    drop(server, name.replace("`", "``"))
    source = "--odd; x"
    drop(server, source)
    server.sql(f"CREATE DATABASE `{source}`; CREATE TABLE `{source}`.t (a INT); INSERT INTO `{source}`.t VALUES (5)")
    restore(destination(server, name.replace("%", "%25")), dumped(server, source), f"/mysql/localhost/{source}.sql")
    assert server.sql("SELECT * FROM `{}`.t".format(name.replace("`", "``"))) == ["5"]


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_dump_is_told(share: float, server: MariadbServer, dump: bytes) -> None:
    """A client that is fed half a dump may well end without complaint."""
    drop(server, "cut")
    lines = dump.splitlines(keepends=True)
    with pytest.raises(DestinationError, match=r"no end|failed"):
        restore(destination(server, "cut"), b"".join(lines[: int(len(lines) * share)]))


def test_a_failing_import_is_told(server: MariadbServer, dump: bytes) -> None:
    """The statement that failed, the exit code, and nothing after it: one line."""
    drop(server, "bad")
    with pytest.raises(DestinationError) as caught:
        restore(destination(server, "bad"), b"INSERT INTO nowhere VALUES (1);\n" + dump)
    assert "exit status 1: ERROR 1146 (42S02) at line 1: Table 'bad.nowhere' doesn't exist" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.sql("SHOW TABLES FROM bad") == []


def test_an_error_of_the_repository_ends_the_client(server: MariadbServer, dump: bytes) -> None:
    """What is damaged is told as damage, and no half statement reaches the server."""
    drop(server, "damaged")
    into = destination(server, "damaged")
    with pytest.raises(IntegrityError, match="blob is damaged"):
        into.receive(stored(dump[:3_000_000], SHOP_FILE, IntegrityError("blob is damaged")))
    into.close()


def test_a_server_that_dies_is_told(tmp_path: Path, dump: bytes) -> None:
    """A lost connection in the middle is no restore."""
    with MariadbServer(tmp_path / "mariadb") as dying:

        def pieces() -> Iterator[Piece]:
            yield Piece(len(dump) // 2, dump[: len(dump) // 2])
            dying.process.kill()
            yield Piece(len(dump) - len(dump) // 2, dump[len(dump) // 2 :])

        with pytest.raises(DestinationError, match=r"exit status 1: .*[Ss]erver"):
            destination(dying, "shop").receive(StoredFile(SHOP_FILE, len(dump), pieces))


def test_wrong_addresses(server: MariadbServer) -> None:
    """What cannot work is refused before anything is touched, with the way out."""
    with pytest.raises(UsageError, match="name it, mysql://root@localhost/shop"):
        destination(server, "").wanted([SHOP_FILE])
    with pytest.raises(UsageError, match="leave out 'x'"):
        destination(server, "x").wanted(["/mysql/localhost/all-databases.sql"])
    with pytest.raises(UsageError, match="mbstream"):
        destination(server, "x").wanted(["/mysql/localhost/mariabackup.xbstream"])
    with pytest.raises(UsageError, match="more than one file"):
        destination(server, "x").wanted([SHOP_FILE, "/mysql/localhost/blog.sql"])
    with pytest.raises(UsageError, match="no dump"):
        destination(server, "x").wanted(["/mysql/localhost/x.txt"])
    with pytest.raises(UsageError, match="'tables' is not known"):
        MysqlDestination.open(DestinationRequest("//localhost/x?tables=a"))


def test_a_user_without_rights(server: MariadbServer, dump: bytes) -> None:
    """Why the server refuses is what the user needs to hear."""
    server.sql("CREATE USER IF NOT EXISTS reader@localhost")
    into = MysqlDestination.open(DestinationRequest(f"//reader@localhost/new?socket={server.socket}"))
    with pytest.raises(DestinationError, match="Access denied for user 'reader'@'localhost' to database 'new'"):
        restore(into, dump)


def test_a_whole_server_comes_back(server: MariadbServer, tmp_path: Path) -> None:
    """All databases, users with their passwords and rights, into a server that has nothing."""
    server.sql(
        "CREATE USER IF NOT EXISTS app@localhost IDENTIFIED BY 'its own'; GRANT SELECT ON shop.* TO app@localhost"
    )
    drop(server, "blog")
    server.sql("CREATE DATABASE blog CHARACTER SET latin1; CREATE TABLE blog.t (a INT); INSERT INTO blog.t VALUES (1)")
    content = dumped(server, "")
    path = "/mysql/localhost/all-databases.sql"
    with pytest.raises(DestinationError, match=r"has databases already \(.*blog.*shop"):
        restore(destination(server, ""), content, path)
    with MariadbServer(tmp_path / "second") as second:
        restore(destination(second, ""), content, path)
        assert contents(second, "shop") == contents(server, "shop")
        assert contents(second, "blog") == contents(server, "blog")
        signed_in = subprocess.run(
            [
                "mariadb",
                "--no-defaults",
                "-uapp",
                f"--socket={second.socket}",
                "-e",
                "SELECT COUNT(*) FROM shop.orders",
            ],
            env={"PATH": "/usr/bin:/bin", "MYSQL_PWD": "its own"},
            capture_output=True,
            check=True,
        )
        assert b"20000" in signed_in.stdout


@pytest.fixture
def only_mysql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A $PATH with a client called mysql that says it is MySQL's, and refuses MariaDB's first line as that does."""
    real = shutil.which("mariadb")
    (tmp_path / "bin").mkdir()
    client = tmp_path / "bin/mysql"
    client.write_text(f"""#!/bin/sh
case $* in --version) echo 'mysql  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)'; exit;; esac
/bin/cat > {tmp_path}/fed
if /bin/grep -q 'M!999999' {tmp_path}/fed; then echo "ERROR at line 1: Unknown command '\\-'." >&2; exit 1; fi
exec {real} "$@" < {tmp_path}/fed
""")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return client


def test_mysqls_client_takes_a_dump_of_mariadb(server: MariadbServer, dump: bytes, only_mysql: Path) -> None:
    """MySQL's client stumbles over the first line of MariaDB's dumps. A stand-in: MySQL is not to be had here."""
    into = destination(server, "by-mysql")
    restore(into, dump)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/bin:/bin:/usr/sbin")
        assert contents(server, "by-mysql") == contents(server, "shop")


def test_no_client_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package to install is named before the snapshot is read."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"program mysql is not in .*mariadb-client"):
        MysqlDestination.open(DestinationRequest("//localhost/x"))
