"""Statements that insert many rows, cut where the rows themselves say: a dump that deduplicates and is loaded fast.

The dump programs begin a new INSERT every so many bytes. One row more or less, and all that follows is cut elsewhere:
nothing of a large table is found again. A statement for each row deduplicates, and takes ten times longer to load.
So the program is asked for a statement for each row, and these are joined here: a row ends its statement if its
checksum is small enough, as chunks of content-defined length are cut. An insertion changes one statement.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO
from zlib import crc32

from limpet.contracts.piece_stream import piece_stream

READ_SIZE = 1 << 20
TARGET_SHIFT = 16
"""A row of n bytes ends its statement with a chance of n in 2 ** (32 - this): one of 64 KiB on average."""
LARGEST_STATEMENT = 1 << 20
"""Well below what any server accepts; cut here a statement is only where 64 KiB were hit by bad luck."""
END_MARK = b"-- Dump completed"
_LOCK, _UNLOCK, _INSERT = b"LOCK TABLES ", b"UNLOCK TABLES", b"INSERT INTO "
_VALUES = b" VALUES ("
_ROW_END = b");\n"
_DELIMITER = b"DELIMITER "
_ALTER_END = (b" ;\n", b" ;;\n")
_PLAIN_DELIMITER = b"DELIMITER ;\n"


def grouped(dump: BinaryIO, header: bytes, database: bytes, ended: Callable[[bool], None]) -> BinaryIO:
    """`header` after the first line, and the dump with its rows joined to statements.

    The quoted name of the `database` goes out of it, so that it can be loaded into another one.

    `ended` is called once all was read, with whether the dump's own end mark was its last line; what it raises is
    raised by the read.
    """
    pieces = _with_header(_joined(_lines(dump, ended), database), header)
    return piece_stream(pieces, dump)


class RowJoiner:
    """Joins the rows of a dump whose lines come in batches, each line with its end.

    Only what stands between LOCK TABLES and UNLOCK TABLES is joined, and nothing in the text of a routine.
    """

    def __init__(self, database: bytes) -> None:
        self._alter = b"ALTER DATABASE %s CHARACTER SET " % database if database else None
        self._prefix = b""
        """What every row's line of this table begins with, up to the parenthesis; empty outside of tables."""
        self._is_open = False
        self._size = 0
        self._is_plain = True
        """Not in the text of a routine."""
        self._in_table = False

    def join(self, lines: list[bytes]) -> bytes:
        """What the lines become, the first ones maybe a part of the statement before."""
        out: list[bytes] = []
        prefix, size = self._prefix, self._size
        for line in lines:  # Millions of them: no call for a row.
            if not (prefix and line.startswith(prefix) and line.endswith(_ROW_END)):
                out.append(self._other(line))
                prefix, size = self._prefix, 0
                continue
            row = line[len(prefix) - 1 : -2]
            size += len(row)
            if self._is_open and size <= LARGEST_STATEMENT:
                out.append(b",\n")
            else:
                out.append(self.close() + prefix[:-2] + b"\n")
                self._is_open, size = True, len(row)
            out.append(row)
            if crc32(row) < len(row) << TARGET_SHIFT:
                out.append(self.close())
        self._size = size
        return b"".join(out)

    def close(self) -> bytes:
        """The end of the statement that is open; empty if none is."""
        end = b";\n" if self._is_open else b""
        self._is_open = False
        return end

    def _other(self, line: bytes) -> bytes:
        if self._in_table and line.startswith(_INSERT) and line.endswith(_ROW_END):
            # The first row of a table goes through alone: it tells what those after it begin with.
            self._prefix = prefix_of(line)
        elif line.startswith(_DELIMITER):
            self._is_plain = line == _PLAIN_DELIMITER
        elif line.startswith(_LOCK):
            self._in_table, self._prefix = self._is_plain, b""
        elif line.startswith(_UNLOCK):
            self._in_table, self._prefix = False, b""
        elif self._alter is not None and line.startswith(self._alter) and line.endswith(_ALTER_END):
            # Around a routine that was made while the database had another character set. Without a name it means the
            # database that is loaded into; the original may be there as well.
            line = b"ALTER DATABASE CHARACTER SET " + line[len(self._alter) :]
        return self.close() + line


def prefix_of(line: bytes) -> bytes:
    """What every row's line of the table begins with, up to the parenthesis; empty if that is not to be seen."""
    at = line.find(_VALUES)
    # Inside of a quoted name there is an odd number of quotes before.
    while at >= 0 and line.count(b"`", 0, at) % 2:
        at = line.find(_VALUES, at + 1)
    return line[: at + len(_VALUES)] if at >= 0 else b""


def _joined(batches: Iterator[list[bytes]], database: bytes) -> Iterator[bytes]:
    joiner = RowJoiner(database)
    for lines in batches:
        yield joiner.join(lines)
    yield joiner.close()


def _lines(dump: BinaryIO, ended: Callable[[bool], None]) -> Iterator[list[bytes]]:
    """The dump's lines, as they come; the last without an end if it has none."""
    cut: list[bytes] = []  # of a line that goes on, which may be as long as the largest row
    last = b""
    while block := _read(dump, ended):
        end = block.rfind(b"\n") + 1
        if not end:
            cut.append(block)
            continue
        lines = io.BytesIO(b"".join(cut) + block[:end]).readlines()
        cut = [block[end:]]
        last = lines[-1]
        yield lines
    tail = b"".join(cut)
    if tail:
        yield [tail]
    ended((tail or last).startswith(END_MARK))


def _read(dump: BinaryIO, ended: Callable[[bool], None]) -> bytes:
    try:
        return dump.read(READ_SIZE)
    except OSError:
        ended(False)  # Nothing at all was written; why, the command may have said.
        raise


def _with_header(pieces: Iterator[bytes], header: bytes) -> Iterator[bytes]:
    first = next(pieces, b"")
    # MariaDB's client wants its own first line to stay the first: what may not be run from a dump.
    end = first.find(b"\n") + 1
    yield first[:end] + header + first[end:]
    yield from pieces
