"""The program that copies a database as it is at one moment, checks the copy and prints it.

A read transaction is held while the copy is made, and not longer: the copy goes to a local file, not to the repository.
With a write-ahead log it keeps no writer waiting; with a rollback journal a commit waits until the copy is made.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing, suppress

from limpet.contracts.made_dump import print_made_file

from limpet_source_sqlite.choices import VACUUM
from limpet_source_sqlite.integrity import problem
from limpet_source_sqlite.place import JOURNAL, LOG, uri


class CopyError(Exception):
    """The copy could not be made, or is not good."""


def copy(source: str, target: str, method: str, wait_s: float) -> None:
    """Copy the database with all that is committed at this moment; sqlite3.Error where that cannot be.

    The database is opened to be written only where no log is beside it: the files that SQLite makes to read it are
    then removed again, and what a crashed program left half-done is rolled back, as its next start would do. Where
    there is a log it is only read, so that the last one to close it does not write it into the database.
    """
    mode = "ro" if os.path.exists(source + LOG) else "rw"
    opened = sqlite3.connect(uri(source, f"mode={mode}"), uri=True, timeout=wait_s, isolation_level=None)
    with closing(opened) as database:
        if method == VACUUM:
            database.execute("VACUUM INTO ?", (target,))
            return
        database.execute("BEGIN")
        # Takes the lock, and waits for it no longer than it should: `backup` would wait for ever.
        database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        with closing(sqlite3.connect(target)) as made:
            made.execute("PRAGMA synchronous = OFF")  # A copy that does not live long.
            database.backup(made, pages=-1)


def copy_frozen(source: str, target: str) -> str:
    """Copy the files of a database that nobody writes to now, on a read-only file system say; the copy's path."""
    for suffix in ("", LOG, JOURNAL):
        with suppress(*(FileNotFoundError,) if suffix else ()):
            shutil.copyfile(source + suffix, f"{target}-frozen{suffix}")
    return f"{target}-frozen"


def main() -> int:
    """Do what the command line says: PATH METHOD CHECK WAIT_S FROZEN FOLDER."""
    source, method, check, wait, frozen, folder = sys.argv[1:]

    def make(target: str) -> None:
        # A log lies beside the file itself, not beside a symbolic link to it.
        real = os.path.realpath(source, strict=True)
        copy(copy_frozen(real, target) if frozen else real, target, method, float(wait))
        if found := problem(target, check):
            raise CopyError(f"the copy of the database is damaged: {found}")

    try:
        print_made_file(make, folder)
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (sqlite3.Error, CopyError) as error:
        return _failed(str(error))
    return 0


def _failed(reason: str) -> int:
    print(reason.replace("\n", " "), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
