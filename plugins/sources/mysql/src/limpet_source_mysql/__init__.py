"""Limpet source: MariaDB and MySQL databases."""

from limpet_source_mysql.destination import MysqlDestination
from limpet_source_mysql.source import MysqlSource

__all__ = [
    "MysqlDestination",
    "MysqlSource",
]
