"""Limpet source: SQLite databases, each copied as it was at one moment while its program goes on writing."""

from limpet_source_sqlite.destination import SqliteDestination
from limpet_source_sqlite.source import SqliteSource

__all__ = [
    "SqliteDestination",
    "SqliteSource",
]
