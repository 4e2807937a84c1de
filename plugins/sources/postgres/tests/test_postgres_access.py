"""Getting in: addresses, passwords that nobody else sees, and one plain line where it does not work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from limpet.contracts.options import Options
from limpet.contracts.source import SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.testing.restic import Restic
from limpet_source_postgres import PostgresSource

from tests.hooks.desk import PASSWORD, Desk, made_desk
from tests.services.postgres_server import PostgresServer
from tests.services.process import free_port
from tests.services.waiting import wait_for
from tests.sources.runs import processes

SECRET = "h'unter \\2"
APP = "app"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with a user who needs a password."""
    server = PostgresServer({APP: SECRET})
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment says where to go."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgres://app:secret@127.0.0.1/shop", "address holds a password"),
        ("postgres://127.0.0.1/shop?password=secret", "'password' is not known"),
        ("postgres://127.0.0.1/shop?format=tar", "'tar' is none of: plain, custom"),
        ("postgres://127.0.0.1/shop?method=rsync", "'rsync' is none of: dump, basebackup"),
        ("postgres://127.0.0.1/shop?from=yesterday", "'from' is not known"),
        ("postgres://127.0.0.1/shop?method=basebackup", "leave out the database's name"),
        ("postgres://127.0.0.1/sh%00op", "zero byte"),
        ("postgres://127.0.0.1:port/shop", "not of the form"),
        ("postgres:shop", "not of the form"),
    ],
)
def test_bad_address(address: str, words: str) -> None:
    """A typing mistake is told before anything is begun."""
    with pytest.raises(UsageError, match=words) as caught:
        opened(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"restrict_key": "a b"}, "only letters and digits"),
        ({"format": "directory"}, "'directory' is none of"),
        ({"password_file": "/no/such/file"}, "cannot read the password_file"),
        ({"password_command": "false"}, "exit status 1"),
    ],
)
def test_bad_option(options: Options, words: str) -> None:
    """So is one in an option."""
    with pytest.raises(UsageError, match=words):
        opened("postgres:///shop", options)


def test_missing_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package to install is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"program psql is not in .*PATH.*postgresql-client"):
        opened("postgres:///shop")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("postgres@127.0.0.1:PORT/missing", 'database "missing" does not exist'),
        ("127.0.0.1:FREE/shop", "Connection refused"),
        ("127.0.0.1:FREE/", "Connection refused"),
        ("127.0.0.1:FREE?method=basebackup", "Connection refused"),
        ("nobody@127.0.0.1:PORT/postgres", 'role "nobody" does not exist'),
        ("app@127.0.0.1:PORT/postgres", "no password supplied; give one by PGPASSWORD, PGPASSFILE"),
        ("/shop?host=/no/such/folder", 'socket "/no/such/folder/.s.PGSQL.5432" failed'),
    ],
)
def test_server_that_does_not_answer(place: str, words: str, server: PostgresServer) -> None:
    """One line says what is wrong, before anything is stored."""
    address = "postgres://" + place.replace("PORT", str(server.port)).replace("FREE", str(free_port()))
    assert words in refusal(address)


@pytest.mark.parametrize("what", ["postgres", "", "?method=basebackup"])
def test_wrong_password(what: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as such, and neither it nor the right one is repeated."""
    monkeypatch.setenv("PGPASSWORD", "wr0ng")
    said = refusal(server.address(what, user=APP))
    assert 'password authentication failed for user "app"' in said
    assert "wr0ng" not in said


def test_ways_to_give_a_password(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way that is documented lets the user in."""
    file, passfile = tmp_path / "password", tmp_path / "pgpass"
    file.write_text(SECRET + "\n")
    escaped = SECRET.replace("\\", "\\\\")
    passfile.write_text(f"127.0.0.1:{server.port}:*:{APP}:{escaped}\n")
    passfile.chmod(0o600)
    address = server.address("postgres", user=APP)
    file_path = f"{server.snapshot_folder}/postgres.sql"
    assert targets(address, {"password_file": str(file)}) == [file_path]
    assert targets(address, {"password_command": f"cat {file}"}) == [file_path]
    assert targets(f"{address}?password_file={file}") == [file_path]
    base_backup = server.address(user=APP, query=f"?password_file={file}&method=basebackup")
    assert targets(base_backup) == [f"{server.snapshot_folder}/base.tar"]
    with monkeypatch.context() as environment:
        environment.setenv("PGPASSFILE", str(passfile))
        assert targets(address) == [file_path]
    monkeypatch.setenv("PGPASSWORD", SECRET)
    assert targets(address) == [file_path]
    assert SECRET not in repr(vars(opened(address, {"password_file": str(file)})))


def test_unix_socket(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most servers are reached that way, and by nobody else."""
    by_address = targets(f"postgres://postgres@:{server.port}/postgres?host={server.folder}")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    assert targets("postgres:///postgres") == by_address
    folder = str(server.folder).replace("/", "_")
    assert by_address == [f"/postgres/{folder}:{server.port}/postgres.sql"]


def test_local_server_has_the_folder_localhost() -> None:
    """The most usual address of all leads to the plainest path."""
    assert opened("postgres:///shop").snapshot_paths == ["/postgres/localhost/shop.sql"]
    assert opened("postgres://db1:5433/shop?format=custom").snapshot_paths == ["/postgres/db1:5433/shop.dump"]
    assert opened("postgres://db1").snapshot_paths == ["/postgres/db1"]


def test_reader_of_everything(server: PostgresServer) -> None:
    """A backup need not run as a superuser: a role that may read all is enough for all but passwords."""
    server.sql("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data; CREATE TABLE hidden AS SELECT 1 AS a")
    source = opened(server.address(user="reader"), {"role_passwords": False})
    try:
        for target in source.targets():
            assert target.entry.stream is not None
            with target.entry.stream() as stream:
                assert stream.read()
        source.finish()
    finally:
        source.close()
        server.sql("DROP TABLE hidden; DROP ROLE reader")


def test_server_without_the_usual_database() -> None:
    """Some drop `postgres` as unused. What concerns no single database can be asked for in another one."""
    server = PostgresServer()
    try:
        server.sql("DROP DATABASE postgres", "template1")
        folder = server.snapshot_folder
        assert targets(server.address()) == [f"{folder}/{name}.sql" for name in ("globals", "databases", "template1")]
    finally:
        server.close()


def test_password_is_seen_nowhere(server: PostgresServer, tmp_path: Path, restic_new: Restic) -> None:
    """Every user of a machine sees command lines; and a repository may be read by more people than a database."""
    desk = made_desk(tmp_path)
    server.sql("CREATE TABLE held (id int)")
    address = server.address("postgres", user=APP)
    with server.locked("held"):
        process = desk.start("backup", "-v", "-v", address, PGPASSWORD=SECRET)
        wait_for(server.is_waited_for, "the dump's waiting for the lock")
        lines = [line for _pid, line in processes()]
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert any(b"pg_dump" in line and APP.encode() in line for line in lines)
    [snapshot] = restic_new.json("snapshots", repo=desk.repository, password=PASSWORD)
    path = f"{server.snapshot_folder}/postgres.sql"
    dump = restic_new.run("dump", "latest", path, repo=desk.repository, password=PASSWORD).stdout
    for text in [*lines, out.encode(), err.encode(), str(snapshot).encode(), dump]:
        assert SECRET.encode() not in text
        assert b"unter \\" not in text


def test_failure_of_the_command_line(server: PostgresServer, tmp_path: Path) -> None:
    """What a user sees: one line, exit code 1, no snapshot; with --allow-partial the rest is saved, and exit code 3."""
    desk = made_desk(tmp_path)
    dead, alive = f"postgres://127.0.0.1:{free_port()}/blog", server.address("postgres")
    for arguments in ([dead], [dead, alive], [alive, dead]):
        done = desk.limpet("backup", *arguments)
        assert done.returncode == 1
        [line] = done.stderr.strip().splitlines()
        assert line.startswith(f"Fatal: {dead}: ")
        assert line.endswith("Connection refused")
    assert desk.snapshots() == 0
    done = desk.limpet("backup", "--allow-partial", dead, alive)
    assert done.returncode == 3, done.stderr
    assert "Connection refused" in done.stderr
    assert names(desk) == ["postgres.sql"]


def names(desk: Desk) -> Sequence[str]:
    """Of the files in the latest snapshot."""
    lines = desk.limpet("ls", "latest").stdout.splitlines()[1:]
    return [line.rpartition("/")[2] for line in lines if line.endswith((".sql", ".dump", ".tar"))]


def opened(address: str, options: Options | None = None) -> PostgresSource:
    """A source of one argument."""
    return PostgresSource.open(SourceRequest([address.removeprefix("postgres:")], options or {}))


def targets(address: str, options: Options | None = None) -> Sequence[str]:
    """The paths of what the server has for the argument."""
    return [os.fsdecode(target.path) for target in opened(address, options).targets()]


def refusal(address: str) -> str:
    """The one line of a source that gets nothing."""
    source = opened(address)
    with pytest.raises(SourceError) as caught:
        source.targets()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("postgres://")
    return str(caught.value)
