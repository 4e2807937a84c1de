"""The integrity check of a copy that nobody else has open; run as a program it ends with 0 where all is well."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

from limpet_source_sqlite.choices import FULL, NONE, QUICK
from limpet_source_sqlite.place import uri

_PRAGMA = {FULL: "integrity_check", QUICK: "quick_check"}


def problem(path: str, check: str) -> str | None:
    """The first thing that is wrong with the database, None if nothing is. The file is not changed."""
    if check == NONE:
        return None
    try:
        # Immutable: no lock, and no log made beside it only because it says that its program uses one.
        with closing(sqlite3.connect(uri(path, "mode=ro&immutable=1"), uri=True)) as connection:
            found = str(connection.execute(f"PRAGMA {_PRAGMA[check]}(1)").fetchone()[0])
    except sqlite3.Error as error:
        found = str(error)
    return None if found == "ok" else found.replace("\n", " ")


def main() -> int:
    """Check the database that the command line names, in the way that it names."""
    found = problem(*sys.argv[1:])
    if found is not None:
        print(found, file=sys.stderr)
    return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
