"""How a database is dumped: as SQL text, or as an archive of pg_restore."""

from __future__ import annotations

from enum import Enum


class Format(Enum):
    """The formats of pg_dump that come out as one stream."""

    PLAIN = "plain"
    CUSTOM = "custom"

    @property
    def suffix(self) -> str:
        """Of the file in the snapshot."""
        return ".sql" if self is Format.PLAIN else ".dump"


class Method(Enum):
    """Each database by itself, or all files of the cluster."""

    DUMP = "dump"
    BASE_BACKUP = "basebackup"
