"""The way back into a SQLite database: whole and sound in its place, or the place as it was before."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from limpet.contracts.destination import DestinationRequest, Piece, StoredFile
from limpet.contracts.options import OptionValue
from limpet.errors import DestinationError, SourceError, UsageError
from limpet_source_sqlite import SqliteDestination

STORED = "/sqlite/srv/shop.db"


@pytest.fixture
def stored(tmp_path: Path) -> bytes:
    """A database as a snapshot has it: one in write-ahead mode, with a run of zeros in it."""
    path = tmp_path / "stored.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE goods (name TEXT, picture BLOB)")
        connection.execute("INSERT INTO goods VALUES ('new', zeroblob(300000))")
        connection.commit()
    content = path.read_bytes()
    path.unlink()
    return content


def put(content: bytes, place: str, options: Mapping[str, OptionValue] | None = None) -> None:
    """Restore as the command does."""
    destination = SqliteDestination.open(DestinationRequest(place, options or {}))
    try:
        assert destination.wanted([STORED]) == [STORED]
        destination.receive(StoredFile(STORED, len(content), lambda: pieces(content)))
        destination.finish()
    finally:
        destination.close()


def pieces(content: bytes) -> Iterator[Piece]:
    """In pieces, runs of zeros as such."""
    for offset in range(0, len(content), 4096):
        piece = content[offset : offset + 4096]
        yield Piece(len(piece), piece if any(piece) else None)


def names(path: Path) -> list[str]:
    """What is for sale; AssertionError if the database is not sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [name for (name,) in connection.execute("SELECT name FROM goods")]


def old_database(path: Path, journal: str = "delete") -> sqlite3.Connection:
    """One that is in the way, still open."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("CREATE TABLE goods (name TEXT)")
    connection.execute("INSERT INTO goods VALUES ('old')")
    return connection


@pytest.mark.parametrize("place", ["{}/new.db", "//{}/new.db"])
def test_new_database(place: str, stored: bytes, tmp_path: Path) -> None:
    """Byte for byte what was stored, for its owner alone: nobody said who else may read it."""
    put(stored, place.format(tmp_path))
    assert (tmp_path / "new.db").read_bytes() == stored
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["new.db"]
    assert names(tmp_path / "new.db") == ["new"]


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal", "-shm"])
def test_nothing_is_overwritten(suffix: str, stored: bytes, tmp_path: Path) -> None:
    """The live database is one letter away; and a log that lies there would be written into the new one."""
    (tmp_path / f"new.db{suffix}").write_text("precious")
    with pytest.raises(UsageError, match="already is") as refused:
        put(stored, f"{tmp_path}/new.db")
    assert f"new.db{suffix}" in str(refused.value)
    assert "sqlite.overwrite" in str(refused.value)
    assert (tmp_path / f"new.db{suffix}").read_text() == "precious"
    assert os.listdir(tmp_path) == [f"new.db{suffix}"]


def test_one_that_appears_meanwhile(stored: bytes, tmp_path: Path) -> None:
    """A restore may take long; what another made in the meantime is not lost to it."""
    destination = SqliteDestination.open(DestinationRequest(f"{tmp_path}/new.db"))
    with closing(destination):
        destination.receive(StoredFile(STORED, len(stored), lambda: pieces(stored)))
        (tmp_path / "new.db").write_text("precious")
        with pytest.raises(UsageError, match="already is"):
            destination.finish()
    assert (tmp_path / "new.db").read_text() == "precious"
    assert os.listdir(tmp_path) == ["new.db"]


def test_overwrites_when_told_to(stored: bytes, tmp_path: Path) -> None:
    """The new one is read by who could read the old one."""
    path = tmp_path / "shop.db"
    old_database(path).close()
    path.chmod(0o640)
    put(stored, str(path), {"overwrite": True})
    assert names(path) == ["new"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_log_of_a_crashed_program_is_not_played_into_the_new_one(stored: bytes, tmp_path: Path) -> None:
    """SQLite takes any log of that name for the database's: its pages would end up in the middle of another one."""
    path = tmp_path / "shop.db"
    crash = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA journal_mode = wal'); c.execute('CREATE TABLE goods (name)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", crash, path], check=True)
    assert Path(f"{path}-wal").stat().st_size > 0
    put(stored, str(path), {"overwrite": True})
    assert os.listdir(tmp_path) == ["shop.db"]
    assert names(path) == ["new"]


def test_damaged_old_one_with_a_log(stored: bytes, tmp_path: Path) -> None:
    """That the old database is broken is the reason to restore it."""
    path = tmp_path / "shop.db"
    path.write_bytes(b"garbage" * 1000)
    for suffix in ("-wal", "-journal", "-shm"):
        Path(f"{path}{suffix}").write_bytes(b"garbage" * 1000)
    put(stored, str(path), {"overwrite": True})
    assert os.listdir(tmp_path) == ["shop.db"]
    assert names(path) == ["new"]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_database_in_use_is_not_overwritten(journal: str, stored: bytes, tmp_path: Path) -> None:
    """A program that has the old file open would go on writing to what is no longer there, or into the new log."""
    path = tmp_path / "shop.db"
    with closing(old_database(path, journal)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO goods VALUES ('more')")
        with pytest.raises(DestinationError, match="has the database open"):
            put(stored, str(path), {"overwrite": True})
        connection.execute("COMMIT")
    assert names(path) == ["old", "more"]
    assert not list(tmp_path.glob(".*"))


def test_damaged_copy_does_not_get_the_name(stored: bytes, tmp_path: Path) -> None:
    """A good database must not give way to a bad one."""
    path = tmp_path / "shop.db"
    old_database(path).close()
    damaged = stored[:4096] + b"\xaa" * 4096 + stored[8192:]
    with pytest.raises(DestinationError, match="no sound database") as refused:
        put(damaged, str(path), {"overwrite": True})
    assert STORED in str(refused.value)
    assert names(path) == ["old"]
    assert os.listdir(tmp_path) == ["shop.db"]


def test_repository_that_fails_in_the_middle(stored: bytes, tmp_path: Path) -> None:
    """Half a database beside its place is rubbish, in its place it is a disaster."""

    def cut() -> Iterator[Piece]:
        yield Piece(4096, stored[:4096])
        raise SourceError("the line is cut")

    destination = SqliteDestination.open(DestinationRequest(f"{tmp_path}/new.db"))
    with closing(destination), pytest.raises(SourceError):
        destination.receive(StoredFile(STORED, len(stored), cut))
    assert os.listdir(tmp_path) == []


def test_link_to_the_database_stays_a_link(stored: bytes, tmp_path: Path) -> None:
    """The database is replaced, not the link, which other things may rely on."""
    (tmp_path / "link.db").symlink_to("real.db")
    old_database(tmp_path / "real.db").close()
    put(stored, f"{tmp_path}/link.db", {"overwrite": True})
    assert (tmp_path / "link.db").is_symlink()
    assert names(tmp_path / "real.db") == ["new"]


@pytest.mark.parametrize(
    ("place", "words"),
    [("", "names no file"), ("//host/x.db", "sqlite:/PATH"), ("/nowhere/x.db", "no folder"), ("/usr", "is a folder")],
)
def test_places_that_make_no_sense(place: str, words: str) -> None:
    """Said before the repository is read."""
    with pytest.raises(UsageError, match=words):
        SqliteDestination.open(DestinationRequest(place))


def test_place_inside_the_repository(stored: bytes, tmp_path: Path) -> None:
    """A file of the repository that is overwritten is lost with all that needs it."""
    (tmp_path / "repository").mkdir()
    place = f"{tmp_path}/repository/config"
    request = DestinationRequest(place, {"overwrite": True}, own_places=[f"{tmp_path}/repository"])
    with pytest.raises(UsageError, match="which this very run uses"):
        SqliteDestination.open(request)


def test_which_of_several(tmp_path: Path) -> None:
    """Of two databases one would get lost under the other."""
    destination = SqliteDestination.open(DestinationRequest(f"{tmp_path}/new.db"))
    with closing(destination), pytest.raises(UsageError, match="SNAPSHOT:/PATH"):
        destination.wanted(["/sqlite/a.db", "/sqlite/b.db"])
