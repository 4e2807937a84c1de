"""Limpet source: PostgreSQL databases."""

from limpet_source_postgres.destination import PostgresDestination
from limpet_source_postgres.source import PostgresSource

__all__ = [
    "PostgresDestination",
    "PostgresSource",
]
