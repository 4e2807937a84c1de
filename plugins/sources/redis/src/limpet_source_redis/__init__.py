"""Limpet source: Redis databases."""

from limpet_source_redis.destination import RedisDestination
from limpet_source_redis.source import RedisSource

__all__ = [
    "RedisDestination",
    "RedisSource",
]
