"""The index in memory: every place of a blob, from index files of any layout."""

from __future__ import annotations

from hashlib import sha256

import pytest
from limpet.errors import IntegrityError
from limpet.format.indexfile import encode_index
from limpet.format.pack import BlobKind, PackedBlob
from limpet.ids import BlobId, StorageId
from limpet.repository.blob_index import BlobIndex, BlobLocation

PACK_A, PACK_B = (StorageId(sha256(name).digest()) for name in (b"a", b"b"))
BLOB = BlobId(sha256(b"blob").digest())
OTHER = BlobId(sha256(b"other").digest())
RAW = PackedBlob(BlobKind.DATA, BLOB, 0, 132, 0)
COMPRESSED = PackedBlob(BlobKind.DATA, BLOB, 50, 72, 100)
TREE = PackedBlob(BlobKind.TREE, BLOB, 0, 50, 33)


def test_kinds_are_apart() -> None:
    """A file with the bytes of a tree would be taken for that tree."""
    index = BlobIndex()
    index.add_pack(PACK_A, [TREE])
    assert index.contains(BlobKind.TREE, BLOB)
    assert not index.contains(BlobKind.DATA, BLOB)
    assert index.find(BlobKind.DATA, BLOB) is None
    assert list(index.iterate(BlobKind.DATA)) == []
    assert list(index.iterate()) == [(BlobKind.TREE, BLOB)]


def test_every_place_is_kept() -> None:
    """When one pack is damaged the blob has to be found in the other."""
    index = BlobIndex()
    index.add_pack(PACK_A, [RAW])
    index.add_pack(PACK_B, [COMPRESSED])
    places = [BlobLocation(PACK_A, 0, 132, 0), BlobLocation(PACK_B, 50, 72, 100)]
    assert index.find_all(BlobKind.DATA, BLOB) == places
    assert index.find(BlobKind.DATA, BLOB) == places[0]
    assert [place.data_length_bytes for place in places] == [100, 100]
    assert index.pack_blobs(PACK_B) == [COMPRESSED]
    assert index.pack_blobs(StorageId(bytes(32))) == []
    assert (set(index.pack_ids()), len(index)) == ({PACK_A, PACK_B}, 2)


def test_index_files_of_other_layouts() -> None:
    """Repositories of many years hold index files that are not laid out as today's."""
    plain = encode_index([(PACK_A, [RAW]), (PACK_B, [COMPRESSED])])
    spaced = plain.replace(b",", b" ,\n ").replace(b":", b" : ")
    old = b'{"supersedes":["' + PACK_A.hex().encode() + b'"],' + plain[1:]
    for json in (plain, spaced, old):
        index = BlobIndex()
        index.add_file(json)
        assert len(index.find_all(BlobKind.DATA, BLOB)) == 2


@pytest.mark.parametrize("json", [b"", b"{", b"[]x", b'{"packs":3}', b'{"packs":[{"id":"00","blobs":[]}]}'])
def test_damaged_index_files(json: bytes) -> None:
    """Half of an index file must not be taken in: what is missing would be stored again, or not be found."""
    index = BlobIndex()
    with pytest.raises(IntegrityError):
        index.add_file(json)
    assert len(index) == 0


def test_sizes_of_packs() -> None:
    """check compares them with what is stored, and would call sound packs damaged."""
    index = BlobIndex()
    index.add_pack(PACK_A, [RAW, PackedBlob(BlobKind.DATA, OTHER, 132, 60, 40)])
    header = 37 + 41 + 32 + 4
    assert index.pack_sizes() == {PACK_A: 132 + 60 + header}
