"""Stored files by the first digits of their id, as people type them."""

from __future__ import annotations

from limpet.contracts.backend import Backend, FileKind
from limpet.errors import NotFoundError
from limpet.ids import StorageId, is_hex_id, parse_storage_id


def find_file(backend: Backend, kind: FileKind, prefix: str) -> StorageId:
    """The only file of the kind whose id starts with the hex digits; NotFoundError for none or several.

    A whole id is taken as it is, without asking the storage.
    """
    if is_hex_id(prefix):
        return parse_storage_id(prefix)
    found = {info.name for info in backend.list(kind) if info.name.startswith(prefix)}
    if not found:
        raise NotFoundError(f'no matching ID found for prefix "{prefix}"')
    if len(found) > 1:
        raise NotFoundError(f'multiple IDs with prefix "{prefix}" found')
    return parse_storage_id(found.pop())
