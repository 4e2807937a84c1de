"""SQLite as a source: a whole database as of one moment, whatever its program does meanwhile, or no snapshot."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.progress import SilentReporter
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance
from limpet_source_sqlite import SqliteSource

from tests.sources.runs import PASSWORD, TIMEOUT_S, Runs, running, wait_until

JOURNALS = ["wal", "delete"]
METHODS = ["backup", "vacuum"]
ACCOUNTS, MONEY = 1000, 1_000_000

# Moves money between accounts; the sum over both tables is the same after each transaction, and only then.
WRITER = """
import random, sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], timeout=600, isolation_level=None)
chance = random.Random(1)
for number in range(10**9):
    amount, taker, giver = chance.randrange(50), chance.randrange(1000), chance.randrange(1000)
    database.execute("BEGIN IMMEDIATE")
    database.execute("UPDATE first SET money = money - ? WHERE id = ?", (amount, taker))
    database.execute("UPDATE second SET money = money + ? WHERE id = ?", (amount, giver))
    database.execute("UPDATE turns SET number = number + 1")
    database.execute("COMMIT")
    time.sleep(0.005)  # With none, nobody else ever gets the lock of a rollback journal.
    if number == 20:
        print("writing", flush=True)
"""


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The command line and a repository."""
    return Runs(tmp_path / "runs")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Rows of every type: unicode, binary, empty, NULL, the widest integers, one of three megabytes."""
    return make_database(tmp_path / "shop.db", "wal")


def make_database(path: Path, journal: str) -> Path:
    """A new one."""
    rows = [
        (1, "Grüße, 世界 🐚", b"\0\xff'\"", 1.5),
        (2, "", b"", -0.0),
        (3, None, None, None),
        (2**63 - 1, "a\nb\0c", bytes(range(256)), 1e308),
        (-(2**63), "x" * 10, os.urandom(3_000_000), 2.0**-1074),
    ]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE types (id INTEGER PRIMARY KEY, text TEXT, blob BLOB, real REAL)")
        connection.execute("CREATE INDEX by_text ON types (text)")
        connection.execute("CREATE TABLE empty (a)")
        connection.execute("CREATE VIEW texts AS SELECT text FROM types")
        connection.executemany("INSERT INTO types VALUES (?, ?, ?, ?)", rows)
        connection.commit()
    return path


def make_bank(path: Path, journal: str) -> Path:
    """A database for the writer, with enough in it that a copy takes a while."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        for table in ("first", "second"):
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, money INTEGER, filler BLOB)")
            connection.executemany(
                f"INSERT INTO {table} VALUES (?, ?, ?)",
                ((number, MONEY // ACCOUNTS // 2, os.urandom(5000)) for number in range(ACCOUNTS)),
            )
        connection.execute("CREATE TABLE turns (number INTEGER)")
        connection.execute("INSERT INTO turns VALUES (0)")
        connection.commit()
    return path


@contextmanager
def writer(path: Path) -> Iterator[Callable[[], int]]:
    """A program that writes all the while; how many transactions it has made so far. It must not have failed."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"writing\n"
        yield lambda: int(value(path, "SELECT number FROM turns"))
        assert process.poll() is None, "the writer failed"
        process.kill()
        process.wait()


def value(path: Path, query: str) -> str:
    """The one value that a query gives, as text."""
    with closing(sqlite3.connect(path, timeout=600)) as connection:
        return str(connection.execute(query).fetchone()[0])


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that is in the database: what it is made of, and the rows; AssertionError if it is not sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        made_of = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
        tables = [name for kind, name, _ in made_of if kind == "table"]
        return {"": made_of, **{name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}}


def restored(runs: Runs, source: Path, target: Path, snapshot: str = "latest") -> Path:
    """A copy of the database out of the snapshot."""
    target.write_bytes(runs.restored(f"/sqlite{source}", snapshot))
    return target


def copier_is_running(path: Path) -> bool:
    """Whether the program that copies the database runs."""
    return bool(copiers(path))


def copiers(path: Path) -> list[int]:
    """The processes that copy the database."""
    return running("limpet_source_sqlite.copier", path)


class TestBackup(SourceConformance):
    """Copied page by page."""

    @pytest.fixture
    def source(self, database: Path, tmp_path: Path) -> Iterator[Source]:
        """Two databases."""
        other = make_database(tmp_path / "other.db", "delete")
        source = SqliteSource.open(SourceRequest([str(database), f"//{other}"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, tmp_path: Path) -> SourceRequest:
        """A folder for the copies that is none."""
        return SourceRequest([str(tmp_path / "shop.db")], {"tmpdir": str(tmp_path / "nowhere")})


class TestVacuum(TestBackup):
    """Compacted."""

    @pytest.fixture
    def source(self, database: Path) -> Iterator[Source]:
        """One database."""
        source = SqliteSource.open(SourceRequest([str(database)], {"method": "vacuum", "check": "quick"}))
        yield source
        source.close()


@pytest.mark.parametrize("journal", JOURNALS)
@pytest.mark.parametrize("method", METHODS)
def test_round_trip_through_restic(method: str, journal: str, runs: Runs, tmp_path: Path, restic_any: Restic) -> None:
    """A copy that misses anything, or that the original program cannot open, is no backup."""
    database = make_database(tmp_path / "shop.db", journal)
    database.chmod(0o640)
    os.utime(database, ns=(10**18, 10**18))
    runs.run("backup", "-o", f"sqlite.method={method}", f"sqlite:{database}")
    restic_any.run("check", "--read-data", repo=runs.repository, password=PASSWORD)
    restic_any.run("restore", "latest", "--target", tmp_path / "out", repo=runs.repository, password=PASSWORD)
    copy = Path(f"{tmp_path}/out/sqlite{database}")
    assert content(copy) == content(database)
    status = copy.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, 10**18)
    assert runs.leftovers() == []


def test_round_trip_by_the_command_line(runs: Runs, database: Path, tmp_path: Path) -> None:
    """The way back that the documentation shows, onto a new file and over an old one."""
    runs.run("backup", f"sqlite:{database}")
    copy = tmp_path / "copy.db"
    runs.run("restore", "latest", "--into", f"sqlite:{copy}")
    assert content(copy) == content(database)
    assert "already is" in runs.run("restore", "latest", "--into", f"sqlite:{copy}", exit_code=1)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("DROP TABLE types")
    runs.run("restore", "latest", "-o", "sqlite.overwrite=true", "--into", f"sqlite:{copy}")
    assert content(copy) == content(database)
    assert runs.leftovers() == []


def test_damaged_one_is_left_out_where_that_is_allowed(runs: Runs, database: Path, tmp_path: Path) -> None:
    """One bad database must not keep all others from being saved, where the user says so."""
    (tmp_path / "bad.db").write_text("Dear Sir or Madam, " * 100)
    said = runs.run("backup", "--allow-partial", f"sqlite:{tmp_path}/bad.db", f"sqlite:{database}", exit_code=3)
    assert "not a database" in said
    assert content(restored(runs, database, tmp_path / "copy.db")) == content(database)
    assert "bad.db" not in runs.run("ls", "latest").partition("\n")[2]


@pytest.mark.parametrize(("method", "journal"), [("backup", "wal"), ("backup", "delete"), ("vacuum", "wal")])
def test_consistent_under_a_writer(method: str, journal: str, runs: Runs, tmp_path: Path) -> None:
    """A copy with half a transaction in it has money that nobody owns; a writer that is kept out loses customers."""
    bank = make_bank(tmp_path / "bank.db", journal)
    with writer(bank) as turns:
        seen = []
        for _ in range(2):
            before = turns()
            # As a file too: a process that closes a file loses its locks on it, those of SQLite included.
            runs.run("backup", "-o", f"sqlite.method={method}", "-o", "sqlite.wait=600", bank, f"sqlite:{bank}")
            after = turns()
            copy = restored(runs, bank, tmp_path / "copy.db")
            total = "SELECT (SELECT sum(money) FROM first) + (SELECT sum(money) FROM second)"
            assert int(value(copy, total)) == MONEY
            assert before <= int(value(copy, "SELECT number FROM turns")) <= after
            seen.append(before)
            copy.unlink()
        assert seen[0] < seen[1], "the writer went on"


def test_write_ahead_log_keeps_no_writer_waiting(runs: Runs, database: Path) -> None:
    """A program whose writes fail because a backup runs will soon have no backup."""
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO types (text) VALUES ('not committed')")
        runs.run("backup", f"sqlite:{database}")
        connection.execute("COMMIT")
    copy = restored(runs, database, database.with_name("copy.db"))
    assert value(copy, "SELECT count(*) FROM types WHERE text = 'not committed'") == "0"


def test_committed_but_only_in_the_log(runs: Runs, database: Path) -> None:
    """What `cp` would miss: the last transactions may be in the log alone."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO types (text) VALUES ('in the log')")
        size = Path(f"{database}-wal").stat().st_size
        assert size > 0
        runs.run("backup", f"sqlite:{database}")
        assert Path(f"{database}-wal").stat().st_size == size, "a backup writes nothing into the database"
    copy = restored(runs, database, database.with_name("copy.db"))
    assert value(copy, "SELECT count(*) FROM types WHERE text = 'in the log'") == "1"


def test_leaves_nothing_beside_the_database(runs: Runs, database: Path) -> None:
    """A log that belongs to root keeps the program from its own database."""
    before = database.read_bytes()
    runs.run("backup", f"sqlite:{database}")
    assert list(database.parent.glob("shop.db*")) == [database]
    assert database.read_bytes() == before


@pytest.mark.parametrize("method", METHODS)
def test_unchanged_database_adds_no_data(method: str, runs: Runs, tmp_path: Path) -> None:
    """A copy that differs in a byte here and there would be stored again every night."""
    bank = make_bank(tmp_path / "bank.db", "wal")
    arguments = ("-o", f"sqlite.method={method}", f"sqlite:{bank}")
    assert runs.backup(*arguments)["data_blobs"] > 5
    assert runs.backup(*arguments)["data_blobs"] == 0
    with closing(sqlite3.connect(bank)) as connection:
        connection.execute("UPDATE first SET money = money + 1 WHERE id = 500")
        connection.commit()
    changed = runs.backup(*arguments)
    assert 0 < changed["data_blobs"] <= 6, "the first page, and the one with the row"


def test_same_snapshot_of_an_unchanged_database(database: Path) -> None:
    """The time of the file in the snapshot is the database's own: restored with it, and no change where none was."""
    with closing(SqliteSource.open(SourceRequest([str(database)]))) as source:
        [target] = source.targets()
    assert target.entry.stat.st_mtime_ns == database.stat().st_mtime_ns


def test_other_spellings_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One database must be at one place in all snapshots, however it was named."""
    monkeypatch.chdir(tmp_path)
    for spelled in ("a b.db", f"{tmp_path}/x/../a b.db", f"//{tmp_path}/a b.db"):
        with closing(SqliteSource.open(SourceRequest([spelled]))) as source:
            assert source.snapshot_paths == [f"/sqlite{tmp_path}/a b.db"]


@pytest.mark.parametrize("name", ["per%cent.db", "quest?ion.db", "ha#sh.db", "spa ce.db", "ünï.db", "\udcff.db", "-d"])
def test_odd_names(name: str, tmp_path: Path) -> None:
    """SQLite takes names in a form of its own, where some letters mean something."""
    path = make_database(tmp_path / name, "wal")
    with closing(SqliteSource.open(SourceRequest([str(path)]))) as source:
        [target] = source.targets()
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            copied = stream.read()
        source.finish()
    (tmp_path / "copy.db").write_bytes(copied)
    assert content(tmp_path / "copy.db") == content(path)


def test_symbolic_link_with_a_log(runs: Runs, database: Path) -> None:
    """The log lies beside the database, not beside the link to it."""
    link = database.with_name("link.db")
    (database.parent / "folder").mkdir()
    link.symlink_to(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO types (text) VALUES ('in the log')")
        runs.run("backup", f"sqlite:{link}")
    copy = restored(runs, link, database.with_name("copy.db"))
    assert value(copy, "SELECT count(*) FROM types WHERE text = 'in the log'") == "1"


def test_frozen_copy_with_a_log(tmp_path: Path, database: Path) -> None:
    """In a snapshot of the file system nothing can be written, not even to read the log."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO types (text) VALUES ('in the log')")
        frozen = tmp_path / "frozen"
        frozen.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{database}{suffix}", f"{frozen}/shop.db{suffix}")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM types")
        connection.commit()
    request = SourceRequest([str(database)], read_from={str(database): str(frozen / "shop.db")})
    with closing(SqliteSource.open(request)) as source:
        [target] = source.targets()
        assert target.path == os.fsencode(f"/sqlite{database}")
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            (tmp_path / "copy.db").write_bytes(stream.read())
        source.finish()
    assert sorted(path.name for path in frozen.iterdir()) == ["shop.db", "shop.db-wal"]
    assert value(tmp_path / "copy.db", "SELECT count(*) FROM types") == "6"


def test_rollback_of_a_writer_that_crashed(runs: Runs, tmp_path: Path) -> None:
    """After a power failure the file holds half a transaction, and the journal says how to undo it."""
    database = make_database(tmp_path / "shop.db", "delete")
    crash = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA cache_size = 1'); c.execute('PRAGMA cache_spill = 1'); c.execute('BEGIN');"
        "c.execute('UPDATE types SET blob = randomblob(4000000)'); os._exit(0)"
    )
    before = content(database)
    subprocess.run([sys.executable, "-c", crash, database], check=True)
    assert Path(f"{database}-journal").stat().st_size > 0
    runs.run("backup", f"sqlite:{database}")
    assert content(restored(runs, database, tmp_path / "copy.db")) == before


@pytest.mark.parametrize("method", METHODS)
def test_damaged_database_is_no_snapshot(method: str, runs: Runs, tmp_path: Path) -> None:
    """A backup that goes on quietly with a damaged database replaces the last good one, snapshot by snapshot."""
    bank = make_bank(tmp_path / "bank.db", "delete")
    with bank.open("r+b") as file:
        file.seek(100 * 4096)
        file.write(b"\xaa" * 4096 * 50)
    said = runs.refused("-o", f"sqlite.method={method}", f"sqlite:{bank}")
    assert f"sqlite:{bank}" in said
    assert "damaged" in said or "malformed" in said


def test_locked_database_is_waited_for_and_then_refused(runs: Runs, tmp_path: Path) -> None:
    """A backup that waits for ever for a writer that hangs is one that nobody notices is missing."""
    database = make_database(tmp_path / "shop.db", "delete")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert "database is locked" in runs.refused("-o", "sqlite.wait=0.2", f"sqlite:{database}")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.db", "No such file"), ("letter", "not a database"), ("folder", "unable to open database file")],
)
def test_what_is_no_database(name: str, reason: str, runs: Runs, tmp_path: Path) -> None:
    """One line that names the file and the reason, and no snapshot."""
    (tmp_path / "letter").write_text("Dear Sir or Madam, " * 100)
    (tmp_path / "folder").mkdir()
    said = runs.refused(f"sqlite:{tmp_path / name}")
    assert str(tmp_path / name) in said
    assert reason in said


def test_database_of_no_bytes(runs: Runs, tmp_path: Path) -> None:
    """A program that has only just made its database has a valid one, without a table."""
    (tmp_path / "new.db").touch()
    runs.run("backup", f"sqlite:{tmp_path / 'new.db'}")
    assert content(restored(runs, tmp_path / "new.db", tmp_path / "copy.db")) == {"": []}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_leaves_nothing(number: int, runs: Runs, tmp_path: Path) -> None:
    """Copies of databases that pile up in /tmp fill the disk, and show what they hold."""
    database = make_database(tmp_path / "shop.db", "delete")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")  # so that the copier still runs when the signal comes
        runs.stopped(f"sqlite:{database}", at=lambda: copier_is_running(database), number=number)
        wait_until(lambda: not copier_is_running(database))


def test_killed_copier_is_no_snapshot(runs: Runs, tmp_path: Path) -> None:
    """The system kills what takes too much memory; what it had made so far is no database."""
    database = make_database(tmp_path / "shop.db", "delete")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        process = runs.start("backup", f"sqlite:{database}")
        wait_until(lambda: copier_is_running(database) and any(runs.temporary.iterdir()))
        os.kill(copiers(database)[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "signal: killed" in errors
    assert runs.snapshot_count() == 0
    assert runs.leftovers() == []


def test_no_room_for_the_copy(database: Path, tmp_path: Path) -> None:
    """A copy that was cut by a full disk must not be stored."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        with closing(
            SqliteSource.open(SourceRequest([str(database)], {"tmpdir": str(small)}, reporter=SilentReporter()))
        ) as source:
            [target] = source.targets()
            assert target.entry.stream is not None
            with target.entry.stream() as stream, pytest.raises(OSError, match="no data read"):
                stream.read()
            with pytest.raises(SourceError, match="full"):
                source.finish()
    finally:
        subprocess.run(["umount", small], check=True)


def test_copies_are_private(tmp_path: Path, database: Path) -> None:
    """In a folder for all, others must not be able to read the copy, nor to put one of theirs in its place."""
    with closing(SqliteSource.open(SourceRequest([str(database)], {"tmpdir": str(tmp_path)}))):
        [folder] = tmp_path.glob("limpet-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("", {}, "names no file"),
        ("/srv/", {}, "names no file"),
        ("//server/shop.db", {}, "sqlite:/PATH"),
        ("/srv/shop.db", {"method": "dump"}, "possible are: backup, vacuum"),
        ("/srv/shop.db", {"check": "maybe"}, "possible are: full, quick, none"),
        ("/srv/shop.db", {"tmpdir": "/nowhere"}, "temporary files in /nowhere"),
    ],
)
def test_requests_that_make_no_sense(target: str, options: dict[str, str], words: str) -> None:
    """What is wrong with them is said before anything is done."""
    with pytest.raises(UsageError, match=words):
        SqliteSource.open(SourceRequest([target], options))


def test_no_target_and_one_twice() -> None:
    """Neither is a snapshot of anything in particular."""
    with pytest.raises(UsageError, match="no database was named"):
        SqliteSource.open(SourceRequest([]))
    with pytest.raises(UsageError, match="named twice"):
        SqliteSource.open(SourceRequest(["/srv/a.db", "//srv/a.db".replace("//srv", "///srv")]))
