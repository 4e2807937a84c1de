"""Limpet source: MongoDB databases, as the archives that mongodump writes."""

from limpet_source_mongodb.destination import MongodbDestination
from limpet_source_mongodb.source import MongodbSource

__all__ = [
    "MongodbDestination",
    "MongodbSource",
]
