"""Rows joined to statements: the same rows in the same order, cut where an insertion changes next to nothing."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet_source_mysql.grouping import LARGEST_STATEMENT, READ_SIZE, grouped, prefix_of

BEGIN = b"-- dump\nLOCK TABLES `t` WRITE;\n/*!40000 ALTER TABLE `t` DISABLE KEYS */;\n"
END = b"/*!40000 ALTER TABLE `t` ENABLE KEYS */;\nUNLOCK TABLES;\n-- Dump completed\n"
INSERT = b"INSERT INTO `t` VALUES "
Ends = list[bool]


def dump_of(rows: Sequence[bytes]) -> bytes:
    """A dump with a statement for each row."""
    return BEGIN + b"".join(INSERT + b"(" + row + b");\n" for row in rows) + END


def join(dump: bytes, header: bytes = b"", database: bytes = b"`db`") -> bytes:
    """The dump joined; AssertionError unless its end was told as it is."""
    ends: Ends = []
    with grouped(io.BytesIO(dump), header, database, ends.append) as stream:
        content = stream.read()
        assert stream.read(1) == b""
    assert ends == [dump.rstrip(b"\n").rpartition(b"\n")[2].startswith(b"-- Dump completed")]
    return content


def split(joined: bytes) -> bytes:
    """A statement for each row again: what `mariadb` makes of it, as far as these rows go."""
    out = []
    for line in io.BytesIO(joined):  # no other character ends a line
        if line.startswith(b"(") and line.endswith((b"),\n", b");\n")):
            out.append(INSERT + line[:-2] + b";\n")
        elif line != INSERT.rstrip(b" ") + b"\n":
            out.append(line)
    return b"".join(out)


@given(st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"\\n")), max_size=60))
@settings(max_examples=60, deadline=None)
def test_all_rows_in_their_order(rows: list[bytes]) -> None:
    """A row lost, doubled or moved would be found out by nobody before the restore."""
    assert split(join(dump_of(rows))) == dump_of(rows)


def test_many_rows_over_many_reads() -> None:
    """Rows cut by the end of a read must come out whole, the one that is larger than several reads too."""
    chance = random.Random(4)
    rows = [b"%d,'%s'" % (number, b"x" * chance.randrange(200)) for number in range(30000)]
    rows[10:10] = [b"0x" + b"AB" * READ_SIZE * 2]
    joined = join(dump_of(rows))
    assert split(joined) == dump_of(rows)
    assert joined.count(INSERT.rstrip()) < len(rows) / 100


def test_an_insertion_changes_one_statement() -> None:
    """Cut every so many bytes, all statements after a new row would be others, and a backup would store it all."""
    rows = [b"%d,'%s'" % (number, os.urandom(10).hex().encode()) for number in range(50000)]
    before = join(dump_of(rows))
    after = join(dump_of([*rows[:100], b"7,'new'", *rows[100:]]))
    changed = set(after.split(b";\n")) - set(before.split(b";\n"))
    assert len(changed) <= 2
    assert len(before.split(b";\n")) > 10


def test_no_statement_is_too_large() -> None:
    """A server refuses what is larger than its max_allowed_packet, the default of old ones is a mebibyte."""
    rows = [b"'%s'" % (b"%07d" % number * 2000) for number in range(500)]
    statements = join(dump_of(rows)).split(b";\n")
    assert max(map(len, statements)) <= LARGEST_STATEMENT + 20000


def test_routines_stay_as_they_are() -> None:
    """The text of a routine belongs to its author, INSERT by INSERT."""
    body = (
        b"DELIMITER ;;\nCREATE PROCEDURE p()\nBEGIN\nLOCK TABLES `t` WRITE;\n" + (INSERT + b"(1);\n") * 5 + b"END ;;\n"
    )
    dump = BEGIN + END + body + b"DELIMITER ;\n" + END
    assert join(dump) == dump


@pytest.mark.parametrize(
    ("line", "prefix"),
    [
        (b"INSERT INTO `t` VALUES (1);\n", b"INSERT INTO `t` VALUES ("),
        (b"INSERT INTO `a VALUES (b` VALUES (1);\n", b"INSERT INTO `a VALUES (b` VALUES ("),
        (b"INSERT INTO `a``b` (`c VALUES (`) VALUES (1);\n", b"INSERT INTO `a``b` (`c VALUES (`) VALUES ("),
        (b"INSERT INTO `t` VALUES (' VALUES (');\n", b"INSERT INTO `t` VALUES ("),
        (b"INSERT INTO `t` SELECT 1);\n", b""),
    ],
)
def test_where_the_rows_begin(line: bytes, prefix: bytes) -> None:
    """A name may hold anything, the words that come before the rows too."""
    assert prefix_of(line) == prefix


def test_the_database_is_not_named() -> None:
    """A dump that names its database in ALTER DATABASE changes the original, or fails where there is none."""
    alter = b"ALTER DATABASE `db` CHARACTER SET latin1 COLLATE latin1_bin ;\n"
    other = b"ALTER DATABASE `dbx` CHARACTER SET latin1 COLLATE latin1_bin ;;\n"
    assert join(alter + other + END) == b"ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin ;\n" + other + END
    assert join(alter + END, database=b"") == alter + END


def test_the_header_comes_second() -> None:
    """MariaDB's client is told first of all that a dump may run no commands of its own."""
    assert join(b"first\nsecond\n" + END, header=b"-- ours\n") == b"first\n-- ours\nsecond\n" + END


@pytest.mark.parametrize("dump", [b"", b"a", b"a\n", END + b"more\n", dump_of([b"1", b"2"])[: -len(END)]])
def test_what_has_no_end_is_told(dump: bytes) -> None:
    """A cut dump is most of a dump, and loads without a word."""
    assert split(join(dump)) == dump
