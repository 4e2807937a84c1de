"""Typed identifiers: 32 raw bytes in memory, 64 hex digits in names and JSON."""

from __future__ import annotations

import re
from typing import NewType

from limpet.errors import UsageError

BlobId = NewType("BlobId", bytes)
"""SHA-256 of a blob's plaintext."""

StorageId = NewType("StorageId", bytes)
"""SHA-256 of a file's stored bytes: packs, indexes, snapshots, keys, locks."""

ID_SIZE = 32
SHORT_HEX = 8

_HEX_ID = re.compile(r"[0-9a-f]{64}")


def is_hex_id(text: str) -> bool:
    """Whether `text` is the 64 lower-case hex digits of an id."""
    return _HEX_ID.fullmatch(text) is not None


def parse_storage_id(text: str) -> StorageId:
    """The id that 64 hex digits name; UsageError for anything else."""
    if not is_hex_id(text):
        raise UsageError(f"not an id (64 hex digits): {text!r}")
    return StorageId(bytes.fromhex(text))


def short(identifier: bytes) -> str:
    """The first 8 hex digits, as shown to people."""
    return identifier.hex()[:SHORT_HEX]
