"""What the files of the snapshot are called: `shop.archive`, `all-databases-oplog.archive`."""

from __future__ import annotations

import re
from urllib.parse import unquote

ARCHIVE = ".archive"
ALL_DATABASES = "all-databases"
ALL_WITH_OPLOG = "all-databases-oplog"
"""With the writes that happened during the dump: `mongorestore` has to be told that they are there."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\%]")


def archive_name(database: str) -> str:
    """Of the file of one database."""
    name = _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", database)
    if name in {ALL_DATABASES, ALL_WITH_OPLOG}:
        name = name.replace("-", "%2D")
    return name + ARCHIVE


def all_name(*, oplog: bool) -> str:
    """Of the file of all databases."""
    return (ALL_WITH_OPLOG if oplog else ALL_DATABASES) + ARCHIVE


def database_of(path: str) -> str | None:
    """Whose archive the path in the snapshot is; None for one of all databases."""
    name = path.rpartition("/")[2].removesuffix(ARCHIVE)
    return None if name in {ALL_DATABASES, ALL_WITH_OPLOG} else unquote(name)


def has_oplog(path: str) -> bool:
    """Whether the archive holds the writes that happened during the dump."""
    return path.rpartition("/")[2] == ALL_WITH_OPLOG + ARCHIVE
