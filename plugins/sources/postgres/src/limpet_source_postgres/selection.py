"""Which of a snapshot's files go into a server or a database, by their paths."""

from __future__ import annotations

from collections.abc import Sequence

from limpet.errors import UsageError

from limpet_source_postgres.names import BASE_BACKUP, CREATION, GLOBALS, database_of

_FIRST = (GLOBALS, CREATION)


def of_one_database(paths: Sequence[str], database: str) -> Sequence[str]:
    """The only dump of a database, or the only one of a database of this name; UsageError if there is none."""
    if len(paths) == 1 and _name(paths[0]) not in _FIRST:
        return paths  # Whatever it is called: it was named, or there is nothing else.
    dumps = [path for path in paths if database_of(path) is not None]
    of_this_name = [path for path in dumps if database_of(path) == database]
    for found in (dumps, of_this_name):
        if len(found) == 1:
            return found
    raise UsageError(_which("which dump is to go into the database", of_this_name or dumps))


def of_server(paths: Sequence[str]) -> Sequence[str]:
    """All of the only server: roles, then what creates the databases, then their contents. UsageError if none or many.

    A database that was saved in both formats is not to be loaded twice.
    """
    taken = [path for path in paths if _name(path) in _FIRST or database_of(path) is not None]
    databases = [name for path in taken if (name := database_of(path)) is not None]
    if len({path.rpartition("/")[0] for path in taken}) != 1 or len(set(databases)) < len(databases):
        if not taken and any(_name(path) == BASE_BACKUP for path in paths):
            raise UsageError("the snapshot holds a base backup, which is unpacked with tar, and no dump of a database")
        raise UsageError(_which("which files are to go into the server", taken))
    return sorted(taken, key=lambda path: (_FIRST.index(_name(path)) if _name(path) in _FIRST else len(_FIRST), path))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _which(question: str, found: Sequence[str]) -> str:
    if not found:
        return "the snapshot holds no dump of a PostgreSQL database"
    return f"{question}? Name a file or a folder as SNAPSHOT:/PATH, or the database: {', '.join(found)}"
