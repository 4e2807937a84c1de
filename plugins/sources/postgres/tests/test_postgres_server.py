"""Whole servers: all databases, with their roles and settings, into another one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from limpet.contracts.destination import DestinationRequest
from limpet.errors import DestinationError
from limpet.testing.restic import Restic
from limpet_source_postgres import PostgresDestination

from tests.hooks.desk import PASSWORD, Desk, made_desk
from tests.services.postgres_server import PostgresServer

ODD = ["sp ace", "quo'te", 'dou"ble', "sla/sh", "back\\slash", "..", "ünï 😀", "%41", "a=b", "globals", "new\nline"]
SETTING, PATH = r"with \ and '", '"$user", public, "odd, one"'
ROLES = r"""
CREATE ROLE owner LOGIN PASSWORD 'o''wner';
CREATE ROLE "odd ""one"" role" IN ROLE owner;
ALTER ROLE owner SET statement_timeout TO '1h';
CREATE DATABASE shop OWNER owner TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 7;
COMMENT ON DATABASE shop IS 'the shop''s';
ALTER DATABASE shop SET search_path TO "$user", public, "odd, one";
ALTER DATABASE shop SET "my.setting" TO 'with \ and ''';
ALTER ROLE owner IN DATABASE shop SET work_mem TO '7MB';
REVOKE CONNECT ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO "odd ""one"" role" WITH GRANT OPTION;
ALTER DATABASE postgres SET timezone TO 'UTC';
"""
SETTINGS = """
SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datistemplate, datconnlimit,
    (SELECT array_agg(item::text ORDER BY item::text) FROM unnest(datacl) AS item),
    shobj_description(oid, 'pg_database'),
    (SELECT array_agg(setrole::regrole || one ORDER BY setrole::regrole || one)
     FROM pg_db_role_setting, unnest(setconfig) AS one WHERE setdatabase = d.oid)
FROM pg_database d ORDER BY datname
"""
ROLE_TABLE = """
SELECT rolname, rolsuper, rolcanlogin, rolpassword,
    (SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0),
    (SELECT array_agg(m.roleid::regrole) FROM pg_auth_members m WHERE m.member = a.oid)
FROM pg_authid a WHERE oid >= 16384 ORDER BY 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with roles, settings, and databases of odd names."""
    server = PostgresServer()
    server.sql(ROLES)
    server.sql("SET ROLE owner; CREATE SCHEMA mine; CREATE TABLE mine.t AS SELECT 'Größe' AS text", "shop")
    for name in ODD:
        quoted = name.replace('"', '""')
        server.sql(f'CREATE DATABASE "{quoted}"')
        server.sql("CREATE TABLE name AS SELECT current_database() AS name", name)
    yield server
    server.close()


@pytest.fixture(scope="module")
def desk(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A snapshot of all of it."""
    desk = made_desk(tmp_path_factory.mktemp("desk"))
    done = desk.limpet("backup", server.address())
    assert done.returncode == 0, done.stderr
    return desk


@pytest.fixture
def other() -> Iterator[PostgresServer]:
    """A fresh server, that has one of the roles and one of the databases already."""
    other = PostgresServer()
    other.sql("CREATE ROLE owner; CREATE DATABASE globals")
    yield other
    other.close()


def test_whole_server_into_another(server: PostgresServer, desk: Desk, other: PostgresServer) -> None:
    """The machine is lost, and all that the server held is on the new one: roles, passwords, settings, contents."""
    done = desk.limpet("restore", "latest", "--into", other.address())
    assert done.returncode == 0, done.stderr
    assert other.sql(ROLE_TABLE) == server.sql(ROLE_TABLE)
    assert settings(other) == settings(server)
    for name in ODD:
        assert other.sql("SELECT * FROM name", name) == server.sql("SELECT * FROM name", name) == name + "\n"
    question = "SHOW my.setting; SHOW search_path; SELECT * FROM mine.t"
    assert other.sql(question, "shop") == server.sql(question, "shop") == f"{SETTING}\n{PATH}\nGröße\n"


def test_nothing_is_begun_on_a_server_that_is_in_use(server: PostgresServer, desk: Desk, other: PostgresServer) -> None:
    """One database in the way is found out before roles are changed or the first database is loaded."""
    other.sql("CREATE TABLE mine ()", "globals")
    done = desk.limpet("restore", "latest", "--into", other.address())
    assert done.returncode == 1
    assert "the database 'globals' is not empty" in done.stderr
    assert "shop" not in other.sql("SELECT datname FROM pg_database").split()
    assert other.sql(ROLE_TABLE) != server.sql(ROLE_TABLE)
    with pytest.raises(DestinationError, match="'globals' is not empty"):
        destination(other).wanted([f"{server.snapshot_folder}/%67lobals.sql"])


def test_restic_restores_files_with_safe_names(server: PostgresServer, desk: Desk, restic_new: Restic) -> None:
    """Whatever a database is called, its file stays in its folder, and is the dump of that database."""
    target = desk.folder / "restored"
    restic_new.run("restore", "latest", "--target", target, repo=desk.repository, password=PASSWORD)
    folder = target / server.snapshot_folder.lstrip("/")
    files = {path.name for path in folder.iterdir()}
    assert len(files) == len(ODD) + 5
    assert {"globals.sql", "databases.sql", "shop.sql", "...sql", "sp ace.sql", "sla%2Fsh.sql"} <= files
    assert sum(path.is_file() for path in target.rglob("*")) == len(files)
    assert b"\ta/b\n" not in (folder / "globals.sql").read_bytes()
    assert "COPY public.name (name) FROM stdin;\nsla/sh\n" in (folder / "sla%2Fsh.sql").read_text()


def settings(server: PostgresServer) -> str:
    """All that belongs to the databases themselves, without their contents."""
    return server.sql(SETTINGS)


def destination(server: PostgresServer) -> PostgresDestination:
    """The way into a whole server."""
    return PostgresDestination.open(DestinationRequest(server.address().removeprefix("postgres:")))
