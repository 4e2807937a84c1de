"""Indexes and the packs they name: damaged files, packs that are missing, cut, mixed, or named twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

from limpet.contracts.backend import FileKind
from limpet.errors import LimpetError, MissingFileError
from limpet.format.pack import BlobKind
from limpet.ids import StorageId, parse_storage_id, short
from limpet.operations.check.options import Finding, FindingKind
from limpet.repository.blob_index import BlobIndex
from limpet.repository.repository import Repository

Found = Callable[[Finding], None]


def check_indexes(repository: Repository, found: Found) -> None:
    """Load every index into the repository's, and report what is wrong with them."""
    names_of_pack: dict[StorageId, list[str]] = {}
    for name, one, json in _readable_indexes(repository, found):
        repository.index.add_file(json)
        for pack_id in one.pack_ids():
            names_of_pack.setdefault(pack_id, []).append(name)
    _compare_indexes(repository, {pack: names for pack, names in names_of_pack.items() if len(names) > 1}, found)
    for pack_id in _mixed_packs(repository.index):
        text = f"pack {short(pack_id)} contains a mix of tree and data blobs"
        found(Finding(FindingKind.MIXED_PACK, pack_id.hex(), (text,)))


def check_packs(repository: Repository, found: Found) -> dict[StorageId, int]:
    """Compare the packs stored with those that the index names; stored size in bytes of each that is there."""
    expected = repository.index.pack_sizes()
    stored = {bytes.fromhex(info.name): info.size_bytes for info in repository.backend.list(FileKind.PACK)}
    present: dict[StorageId, int] = {}
    for pack_id, size in expected.items():
        name = pack_id.hex()
        if pack_id not in stored:
            found(Finding(FindingKind.PACK_MISSING, name, (f"pack {name}: does not exist",)))
            continue
        present[StorageId(pack_id)] = stored[pack_id]
        if stored[pack_id] != size:
            text = f"pack {name}: unexpected file size: got {stored[pack_id]}, expected {size}"
            found(Finding(FindingKind.PACK_SIZE, name, (text,)))
    for pack_id in stored.keys() - expected.keys():
        name = pack_id.hex()
        found(Finding(FindingKind.PACK_UNREFERENCED, name, (f"pack {name}: not referenced in any index",)))
    return present


def _readable_indexes(repository: Repository, found: Found) -> Iterator[tuple[str, BlobIndex, bytes]]:
    """Name, content and JSON of each index; what cannot be read is reported."""
    for name, json in repository.read_index_files():
        try:
            if isinstance(json, LimpetError):
                raise json
            one = BlobIndex()
            one.add_file(json)
        except MissingFileError:
            continue  # merged into another since it was listed
        except LimpetError as error:
            found(Finding(FindingKind.INDEX, name, (f"error loading index {name}: {error}",)))
        else:
            yield name, one, json


def _compare_indexes(repository: Repository, names_of_pack: dict[StorageId, list[str]], found: Found) -> None:
    """Report the packs that several indexes name; whether these agree decides how bad it is.

    They are read again for that: keeping what each index says of each pack would cost too much where all is well.
    """
    contents: dict[StorageId, set[bytes]] = {pack_id: set() for pack_id in names_of_pack}
    for name in sorted({name for names in names_of_pack.values() for name in names}):
        one = BlobIndex()
        one.add_file(repository.load_unpacked(FileKind.INDEX, parse_storage_id(name)))
        for pack_id in one.pack_ids():
            if pack_id in contents:
                contents[pack_id].add(sha256(repr(one.table.pack_blobs(pack_id)).encode()).digest())
    for pack_id, names in names_of_pack.items():
        indexes = "{" + " ".join(short(parse_storage_id(name)) for name in sorted(names)) + "}"
        if len(contents[pack_id]) > 1:
            text = f"pack {pack_id.hex()} has different data in indexes: {indexes}"
            found(Finding(FindingKind.INDEX_DIFFERS, pack_id.hex(), (text,)))
        else:
            text = f"pack {pack_id.hex()} contained in several indexes: {indexes}"
            found(Finding(FindingKind.DUPLICATE_PACK, pack_id.hex(), (text,)))


def _mixed_packs(index: BlobIndex) -> list[StorageId]:
    """Packs with trees and data."""
    with_trees = {pack for _, _, pack in index.table.iterate(BlobKind.TREE.value)}
    mixed = {pack for _, _, pack in index.table.iterate(BlobKind.DATA.value) if pack in with_trees}
    pack_ids = index.pack_ids() if mixed else []
    return [pack_ids[number] for number in sorted(mixed)]
