"""The blobs of packs that are named, and the packs of blobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, IntegrityError, RepositoryError
from limpet.format.pack import BlobKind
from limpet.ids import SHORT_HEX, StorageId, parse_storage_id
from limpet.operations.find.objects import ObjectIds
from limpet.repository.pack_header import load_pack_header
from limpet.repository.repository import Repository


def blobs_of_packs(repository: Repository, names: Sequence[str]) -> ObjectIds:
    """The blobs of the packs: as their own headers tell, for packs that are missing or damaged as the index does.

    A pack is named by its whole id or the first 8 digits. RepositoryError for packs that neither knows.
    """
    wanted = dict.fromkeys(names)
    ids = ObjectIds()
    for info in repository.backend.list(FileKind.PACK):
        name = _wanted_name(wanted, info.name)
        if name is None:
            continue
        pack_id = parse_storage_id(info.name)
        try:
            blobs = load_pack_header(repository, pack_id, info.size_bytes)
        except (IntegrityError, BackendError):
            continue
        _add(ids, ((blob.kind, blob.id) for blob in blobs))
        del wanted[name]
        if not wanted:
            return ids
    _add_from_index(repository, wanted, ids)
    if wanted:
        raise RepositoryError(f"unable to find pack(s): [{' '.join(sorted(wanted))}]")
    return ids


def _add_from_index(repository: Repository, wanted: dict[str, None], ids: ObjectIds) -> None:
    found = set()
    for pack_id in repository.index.pack_ids():
        name = _wanted_name(wanted, pack_id.hex())
        if name is not None:
            found.add(name)
            _add(ids, ((blob.kind, blob.id) for blob in repository.index.pack_blobs(StorageId(pack_id))))
    for name in found:
        del wanted[name]


def _wanted_name(wanted: dict[str, None], pack_hex: str) -> str | None:
    return next((name for name in (pack_hex, pack_hex[:SHORT_HEX]) if name in wanted), None)


def _add(ids: ObjectIds, blobs: Iterable[tuple[BlobKind, bytes]]) -> None:
    for kind, blob_id in blobs:
        (ids.blobs if kind is BlobKind.DATA else ids.trees)[blob_id.hex()] = None
