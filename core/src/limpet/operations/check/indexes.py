"""Indexes and the packs they name: damaged files, packs that are missing, cut, mixed, or named twice."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from limpet.contracts.backend import FileKind
from limpet.errors import LimpetError, MissingFileError
from limpet.format.pack import BlobKind
from limpet.ids import StorageId, short
from limpet.operations.check.options import Finding, FindingKind
from limpet.repository.blob_index import BlobIndex
from limpet.repository.repository import Repository

Found = Callable[[Finding], None]


def check_indexes(repository: Repository, found: Found) -> None:
    """Load every index into the repository's, and report what is wrong with them."""
    packs = _PacksOfIndexes()
    for name, json in repository.read_index_files():
        try:
            if isinstance(json, LimpetError):
                raise json
            one = BlobIndex()
            one.add_file(json)
            repository.index.add_file(json)
            packs.add(name, one)
        except MissingFileError:
            continue
        except LimpetError as error:
            found(Finding(FindingKind.INDEX, bytes.fromhex(name), (f"error loading index {name}: {error}",)))
    packs.report(found)
    for pack_id in repository.index.pack_ids():
        kinds = {blob.kind for blob in repository.index.pack_blobs(pack_id)}
        if kinds == {BlobKind.DATA, BlobKind.TREE}:
            text = f"pack {short(pack_id)} contains a mix of tree and data blobs"
            found(Finding(FindingKind.MIXED_PACK, pack_id, (text,)))


def check_packs(repository: Repository, found: Found) -> dict[StorageId, int]:
    """Compare the packs stored with those that the index names; size in bytes of each that is sound so far."""
    expected = repository.index.pack_sizes()
    stored = {bytes.fromhex(info.name): info.size_bytes for info in repository.backend.list(FileKind.PACK)}
    sound: dict[StorageId, int] = {}
    for pack_id, size in expected.items():
        if pack_id not in stored:
            found(Finding(FindingKind.PACK_MISSING, pack_id, (f"pack {pack_id.hex()}: does not exist",)))
        elif stored[pack_id] != size:
            text = f"pack {pack_id.hex()}: unexpected file size: got {stored[pack_id]}, expected {size}"
            found(Finding(FindingKind.PACK_SIZE, pack_id, (text,)))
        sound[StorageId(pack_id)] = stored.get(pack_id, size)
    for pack_id in stored.keys() - expected.keys():
        text = f"pack {pack_id.hex()}: not referenced in any index"
        found(Finding(FindingKind.PACK_UNREFERENCED, pack_id, (text,)))
    return sound


class _PacksOfIndexes:
    """Which index names which pack, and whether two of them disagree about one."""

    def __init__(self) -> None:
        self._first: dict[bytes, tuple[str, bytes]] = {}
        self._others: dict[bytes, list[tuple[str, bytes]]] = {}

    def add(self, name: str, index: BlobIndex) -> None:
        for pack_id in index.pack_ids():
            entry = name, _digest(index, pack_id)
            if pack_id in self._first:
                self._others.setdefault(pack_id, []).append(entry)
            else:
                self._first[pack_id] = entry

    def report(self, found: Found) -> None:
        for pack_id, others in self._others.items():
            entries = [self._first[pack_id], *others]
            names = " ".join(sorted(name[:8] for name, _ in entries))
            if len({digest for _, digest in entries}) > 1:
                text = f"pack {pack_id.hex()} has different data in indexes: {{{names}}}"
                found(Finding(FindingKind.INDEX_DIFFERS, pack_id, (text,)))
            else:
                text = f"pack {pack_id.hex()} contained in several indexes: {{{names}}}"
                found(Finding(FindingKind.DUPLICATE_PACK, pack_id, (text,)))


def _digest(index: BlobIndex, pack_id: StorageId) -> bytes:
    """The same for the same blobs at the same places."""
    return sha256(repr(index.table.pack_blobs(pack_id)).encode()).digest()
