"""Names of databases as names of files, and which file goes where."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import UsageError
from limpet_source_postgres.formats import Format
from limpet_source_postgres.names import BASE_BACKUP, CREATION, GLOBALS, database_of, file_name
from limpet_source_postgres.selection import of_one_database, of_server

ODD = [
    "sp ace", "quo'te", 'dou"ble', "sla/sh", "back\\slash", "..", ".", "ünï çødé", "%41", "a=b", "new\nline",
    "postgres://x", "globals", "databases", "base.tar", "x.sql", "\udcff\udc80", "-rf", "😀" * 15,
]  # fmt: skip
FOLDER = "/postgres/localhost"

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15)


@given(names, names, st.sampled_from(Format), st.sampled_from(Format))
def test_each_database_has_a_file_of_its_own(one: str, other: str, first: Format, second: Format) -> None:
    """Two databases in one file of the snapshot would be one database."""
    assert database_of(file_name(one, first)) == one
    assert (file_name(one, first) == file_name(other, second)) == ((one, first) == (other, second))


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("dump_format", Format)
def test_odd_names(name: str, dump_format: Format) -> None:
    """A name that leads out of the folder, or hides what it is on a terminal, is not to get into a snapshot."""
    file = file_name(name, dump_format)
    assert database_of(f"{FOLDER}/{file}") == name
    assert file not in {"", ".", "..", GLOBALS, CREATION, BASE_BACKUP}
    assert not set(file) & set("/\\\n\0\x1b")
    assert len(os.fsencode(file)) < 255


def test_plain_names_stay_as_they_are() -> None:
    """The file is looked for by the database's name."""
    assert file_name("shop", Format.PLAIN) == "shop.sql"
    assert file_name("Größe 2", Format.CUSTOM) == "Größe 2.dump"


def test_what_is_no_database() -> None:
    """Roles are not loaded as if they were a database called globals."""
    assert [database_of(f"/x/{name}") for name in (GLOBALS, CREATION, BASE_BACKUP, "x.gz")] == [None] * 4


@pytest.mark.parametrize(
    ("paths", "database", "chosen"),
    [
        (["/backup.gz"], "shop", "/backup.gz"),
        ([f"{FOLDER}/shop.sql"], "copy", f"{FOLDER}/shop.sql"),
        ([f"{FOLDER}/globals.sql", f"{FOLDER}/databases.sql", f"{FOLDER}/shop.dump"], "copy", f"{FOLDER}/shop.dump"),
        ([f"{FOLDER}/blog.sql", f"{FOLDER}/shop.sql"], "shop", f"{FOLDER}/shop.sql"),
        ([f"{FOLDER}/base.tar", f"{FOLDER}/shop.sql"], "copy", f"{FOLDER}/shop.sql"),
    ],
)
def test_one_database(paths: Sequence[str], database: str, chosen: str) -> None:
    """What can only be meant in one way need not be spelled out."""
    assert of_one_database(paths, database) == [chosen]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([f"{FOLDER}/blog.sql", f"{FOLDER}/shop.sql"], "SNAPSHOT:/PATH, or the database: .*blog.sql, .*shop.sql"),
        ([f"{FOLDER}/shop.sql", "/postgres/other/shop.sql"], "SNAPSHOT:/PATH"),
        ([f"{FOLDER}/globals.sql"], "holds no dump"),
        ([], "holds no dump"),
    ],
)
def test_no_guess_at_a_database(paths: Sequence[str], words: str) -> None:
    """The wrong database under the right name is found out late."""
    with pytest.raises(UsageError, match=words):
        of_one_database(paths, "copy" if len(paths) != 2 or "other" not in paths[1] else "shop")


def test_a_server_in_order() -> None:
    """Databases belong to roles, and their contents need them."""
    paths = [f"{FOLDER}/{name}" for name in ("a.sql", "databases.sql", "globals.sql", "x.dump", "base.tar", "notes")]
    assert of_server(paths) == [f"{FOLDER}/{name}" for name in ("globals.sql", "databases.sql", "a.sql", "x.dump")]


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([f"{FOLDER}/a.sql", f"{FOLDER}/a.dump"], "SNAPSHOT:/PATH"),
        ([f"{FOLDER}/a.sql", "/postgres/other/b.sql"], "SNAPSHOT:/PATH"),
        ([f"{FOLDER}/base.tar"], "base backup, which is unpacked with tar"),
        (["/notes"], "holds no dump"),
    ],
)
def test_no_guess_at_a_server(paths: Sequence[str], words: str) -> None:
    """Two servers in one, or a database twice, is nothing that anybody saved."""
    with pytest.raises(UsageError, match=words):
        of_server(paths)
