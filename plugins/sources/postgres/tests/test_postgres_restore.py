"""The way back into one database: all that was there is there again, or nothing is, and it is said why."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from limpet.contracts.destination import DestinationRequest
from limpet.errors import DestinationError, UsageError
from limpet.testing.restic import Restic
from limpet_source_postgres import PostgresDestination

from tests.hooks.desk import PASSWORD, Desk, made_desk
from tests.services.postgres_server import PostgresServer

# Every kind of thing that a dump could lose on its way through text.
CONTENT = r"""
CREATE SCHEMA "odd ""one"" schema";
CREATE EXTENSION IF NOT EXISTS plpgsql;
CREATE TYPE mood AS ENUM ('glad', 'sad', 'it''s \ complicated');
CREATE TABLE kinds (
    id serial PRIMARY KEY, text text, binary_data bytea, number numeric, real_number double precision,
    document jsonb, list text[], moment timestamptz, day date, span int4range, mood mood, flag boolean,
    doubled numeric GENERATED ALWAYS AS (number * 2) STORED
);
INSERT INTO kinds (text, binary_data, number, real_number, document, list, moment, day, span, mood, flag) VALUES
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('', '', 0, 'NaN', '{}', '{}', '-infinity', '4713-01-01 BC', 'empty', 'glad', false),
    (E'tab\t newline\n return\r backslash\\ quote'' \x01 \\. \\N', decode('00ff0a0d5c27', 'hex'),
        12345678901234567890.0123456789, 1e-300, '{"a": [1, null, "ü\u2028"]}', ARRAY['a,b', '"', NULL, '{}'],
        '2026-03-29 02:30:00.123456+01', '9999-12-31', '[1,5)', E'it''s \\ complicated', true),
    ('ünï çødé 😀 \u0000', convert_to('ü', 'LATIN1'), -1, '-Infinity', '"x"', ARRAY[E'\\'], now(), now(), '(,)',
        'sad', NULL);
INSERT INTO kinds (text, binary_data) SELECT repeat('large ü ', 200000), decode(repeat('00ff10', 500000), 'hex');
INSERT INTO kinds (text) SELECT md5(g::text) FROM generate_series(1, 5000) g;
CREATE TABLE "odd ""one"" schema"."a table; DROP" ("select" int REFERENCES kinds, "ü" text DEFAULT 'x');
INSERT INTO "odd ""one"" schema"."a table; DROP" SELECT id, text FROM kinds WHERE id < 4;
CREATE INDEX ON kinds (lower(text)) WHERE flag;
CREATE VIEW happy AS SELECT * FROM kinds WHERE mood = 'glad';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM kinds;
CREATE FUNCTION twice(i int) RETURNS int LANGUAGE plpgsql AS $body$ BEGIN RETURN i * 2; -- "quoted" 'here' \
END $body$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.text := ''x''; RETURN NEW; END';
CREATE TRIGGER noted BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE part_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO parts VALUES (1, '2026-11-22');
SELECT lo_from_bytea(4242, decode('00ff', 'hex') || 'large object');
COMMENT ON TABLE kinds IS 'a comment; -- with \ all';
"""
QUESTIONS = [
    "SELECT * FROM kinds ORDER BY id",
    'SELECT * FROM "odd ""one"" schema"."a table; DROP" ORDER BY 1',
    "SELECT * FROM counted",
    "SELECT * FROM parts",
    "SELECT id FROM happy",
    "SELECT twice(21), encode(lo_get(4242), 'hex'), obj_description('kinds'::regclass), last_value FROM kinds_id_seq",
]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with a database that has everything in it."""
    server = PostgresServer()
    server.sql("CREATE DATABASE shop")
    server.sql(CONTENT, "shop")
    yield server
    server.close()


@pytest.fixture(scope="module")
def desk(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A snapshot of the database in each format, by tag, and of another one; and before them one of something else."""
    desk = made_desk(tmp_path_factory.mktemp("desk"))
    server.sql("CREATE TABLE other ()")
    (desk.work / "bad.sql").write_text("CREATE TABLE t (id int);\nSELECT 1/0;\n")
    (desk.work / "objects.sql").write_text("SELECT lo_create(7);\nBEGIN;\nSELECT 1;\nCOMMIT;\nSELECT 1/0;\n")
    assert desk.limpet("backup", "--tag", "bad", str(desk.work)).returncode == 0
    for dump_format in ("plain", "custom"):
        address = server.address("shop", query=f"?format={dump_format}")
        done = desk.limpet("backup", "--tag", dump_format, address, server.address("postgres"))
        assert done.returncode == 0, done.stderr
    return desk


@pytest.fixture
def copy(server: PostgresServer) -> Iterator[str]:
    """The name of a database that is not there."""
    yield "shop_copy"
    server.sql("DROP DATABASE IF EXISTS shop_copy")


@pytest.mark.parametrize(("dump_format", "suffix"), [("plain", "sql"), ("custom", "dump")])
def test_round_trip(dump_format: str, suffix: str, server: PostgresServer, desk: Desk, copy: str) -> None:
    """Every value of every type comes back into a database that is made for it."""
    path = f"latest:{server.snapshot_folder}/shop.{suffix}"
    done = desk.limpet("restore", "--tag", dump_format, path, "--into", server.address(copy))
    assert done.returncode == 0, done.stderr
    assert_same(server, "shop", copy)


def test_file_of_restic_goes_in_by_hand(server: PostgresServer, desk: Desk, copy: str, restic_new: Restic) -> None:
    """On the day when Limpet is not there, restic and the tools of PostgreSQL do."""
    environment = {**os.environ, **server.environment}
    for dump_format, suffix in (("plain", "sql"), ("custom", "dump")):
        target = desk.folder / dump_format
        tag = ["--tag", dump_format]
        restic_new.run("restore", "latest", *tag, "--target", target, repo=desk.repository, password=PASSWORD)
        file = target / f"{server.snapshot_folder}/shop.{suffix}".lstrip("/")
        server.sql(f"CREATE DATABASE {copy}")
        load = ["pg_restore", "-e"] if suffix == "dump" else ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-1", "-f"]
        subprocess.run([*load, file, "-d", copy], env=environment, check=True, stdout=subprocess.DEVNULL)
        assert_same(server, "shop", copy)
        server.sql(f"DROP DATABASE {copy}")


def test_database_of_the_same_name_needs_no_path(server: PostgresServer, desk: Desk) -> None:
    """On a server that has lost a database, its name says all. The scheme's longer name is the same scheme."""
    server.sql("ALTER DATABASE shop RENAME TO kept")
    address = server.address("shop").replace("postgres:", "postgresql:", 1)
    done = desk.limpet("restore", "latest", "--into", address)
    same = done.returncode == 0 and all(
        server.sql(question, "shop") == server.sql(question, "kept") for question in QUESTIONS[:3]
    )
    server.sql("DROP DATABASE IF EXISTS shop")
    server.sql("ALTER DATABASE kept RENAME TO shop")
    assert done.returncode == 0, done.stderr
    assert same


def test_another_name_needs_a_path(server: PostgresServer, desk: Desk, copy: str) -> None:
    """Which of two databases was meant is not guessed."""
    said = failure(desk, "latest", server.address(copy))
    assert "SNAPSHOT:/PATH" in said
    assert "letter" not in said
    assert f"{server.snapshot_folder}/shop.dump" in said
    assert copy not in databases(server)


def test_database_that_is_not_empty(server: PostgresServer, desk: Desk, copy: str) -> None:
    """A restore into the wrong database is worse than none."""
    server.sql(f"CREATE DATABASE {copy}")
    server.sql("CREATE TABLE mine (id int)", copy)
    path = f"latest:{server.snapshot_folder}/postgres.sql"
    assert "the database 'shop_copy' is not empty" in failure(desk, path, server.address(copy))
    assert "other" not in tables(server, copy)
    done = desk.limpet("restore", path, "--into", server.address(copy), "-o", "postgres.into_existing=true")
    assert done.returncode == 0, done.stderr
    assert {"mine", "other"} <= tables(server, copy)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE SCHEMA s",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE t AS ENUM ()",
        "CREATE VIEW v AS SELECT 1",
        "SELECT lo_create(1)",
    ],
)
def test_what_counts_as_content(made: str, server: PostgresServer, copy: str) -> None:
    """A database without tables may still be somebody's."""
    server.sql(f"CREATE DATABASE {copy}")
    server.sql(made, copy)
    with pytest.raises(DestinationError, match="not empty"):
        destination(server.address(copy)).wanted(["/postgres.sql"])


def test_empty_database_is_filled(server: PostgresServer, desk: Desk, copy: str) -> None:
    """Whoever wants another encoding or owner makes the database first; extensions of the template are no content."""
    server.sql(f"CREATE DATABASE {copy} TEMPLATE template0 ENCODING 'SQL_ASCII'")
    server.sql("CREATE EXTENSION hstore", copy)
    path = f"latest:{server.snapshot_folder}/postgres.sql"
    done = desk.limpet("restore", path, "--into", server.address(copy))
    assert done.returncode == 0, done.stderr
    assert "other" in tables(server, copy)


@pytest.mark.parametrize(("suffix", "tool"), [("sql", "psql"), ("dump", "pg_restore")])
def test_failed_load_leaves_nothing(suffix: str, tool: str, server: PostgresServer, desk: Desk, copy: str) -> None:
    """Half a database looks like one. The tool's exit code and its own words are reported."""
    server.sql(f"CREATE DATABASE {copy}")
    server.sql("CREATE TABLE counted (id int)", copy)  # In the way of what comes late in the dump.
    path = f"latest:{server.snapshot_folder}/shop.{suffix}"
    options = ["--tag", "custom" if suffix == "dump" else "plain", "-o", "postgres.into_existing=true"]
    said = failure(desk, path, server.address(copy), *options)
    assert f"command {tool} failed: exit status {3 if tool == 'psql' else 1}: " in said
    assert 'relation "counted" already exists' in said
    assert tables(server, copy) == {"counted"}


def test_failed_load_drops_the_database_that_it_made(server: PostgresServer, desk: Desk, copy: str) -> None:
    """The next try finds what the first one found."""
    said = failure(desk, f"latest:{desk.work}/bad.sql", server.address(copy), "--tag", "bad")
    assert "command psql failed: exit status 3: psql:<stdin>:2: ERROR:  division by zero" in said
    assert copy not in databases(server)


def test_large_objects_in_a_plain_dump(server: PostgresServer, desk: Desk, copy: str) -> None:
    """Their own COMMIT makes half a load stay: nobody should take an empty database for granted then."""
    server.sql(f"CREATE DATABASE {copy}")
    said = failure(desk, f"latest:{desk.work}/objects.sql", server.address(copy), "--tag", "bad")
    assert "division by zero" in said
    assert said.endswith("; a part of the dump is in the database 'shop_copy' now")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("postgres://127.0.0.1:1/x", "Connection refused"),
        ("postgres://nobody@127.0.0.1:PORT/x", 'role "nobody" does not exist'),
        ("postgres://postgres:secret@127.0.0.1:PORT/x", "address holds a password"),
        ("postgres://postgres@127.0.0.1:PORT/?method=basebackup", "unpack it with tar"),
    ],
)
def test_no_way_in(place: str, words: str, server: PostgresServer) -> None:
    """One line says what is wrong with the server, or with how it is named."""
    with pytest.raises((UsageError, DestinationError)) as caught:
        destination(place.replace("PORT", str(server.port))).wanted(["/postgres.sql"])
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def assert_same(server: PostgresServer, one: str, other: str) -> None:
    """Both databases answer alike, and are dumped alike."""
    for question in QUESTIONS:
        assert server.sql(question, one) == server.sql(question, other), question
    environment = {**os.environ, **server.environment}
    dumps = [
        subprocess.run(["pg_dump", "--restrict-key=x", name], env=environment, capture_output=True, check=True).stdout
        for name in (one, other)
    ]
    assert dumps[0] == dumps[1]


def destination(address: str) -> PostgresDestination:
    """The way into a database."""
    return PostgresDestination.open(DestinationRequest(address.removeprefix("postgres:")))


def failure(desk: Desk, snapshot: str, into: str, *options: str) -> str:
    """The one line of a restore that went wrong."""
    done = desk.limpet("restore", snapshot, "--into", into, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    [line] = [line for line in done.stderr.splitlines() if not line.startswith("subprocess ")]
    return line


def databases(server: PostgresServer) -> list[str]:
    """Their names."""
    return server.sql("SELECT datname FROM pg_database").split()


def tables(server: PostgresServer, database: str) -> set[str]:
    """Their names."""
    return set(server.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384", database).split())
