"""Listings of a REST server as bytes: API version 2 names files and sizes, version 1 only names."""

from __future__ import annotations

import json

from limpet.contracts.backend import FileInfo
from limpet.ids import is_hex_id

API_V2 = "application/vnd.x.restic.rest.v2"


def decode_listing(data: bytes) -> list[FileInfo]:
    """The files of a listing of version 2, each once; ValueError for what is none."""
    found: dict[str, int] = {}
    for entry in _entries(data):
        if not isinstance(entry, dict):
            raise ValueError("an entry is no object")
        name, size = entry.get("name"), entry.get("size")
        if not isinstance(name, str) or not isinstance(size, int) or size < 0:
            raise ValueError("an entry has no name or no size")
        if is_hex_id(name):
            found[name] = size
    return [FileInfo(name, size) for name, size in found.items()]


def decode_names(data: bytes) -> list[str]:
    """The names of a listing of version 1, each once; ValueError for what is none."""
    names = _entries(data)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("an entry is no name")
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and is_hex_id(name)))


def _entries(data: bytes) -> list[object]:
    entries = json.loads(data)
    if entries is None:  # what Go makes of a list that was never filled
        return []
    if not isinstance(entries, list):
        raise ValueError("it is no list")
    return entries
