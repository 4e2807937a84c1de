"""Index files: round trips, restic's exact text, and the older layouts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.indexfile import IndexFile, decode_index, encode_index
from limpet.format.pack import BlobKind, PackedBlob
from limpet.ids import BlobId, StorageId

ids = st.binary(min_size=32, max_size=32)
blobs = st.builds(
    PackedBlob,
    kind=st.sampled_from(BlobKind),
    id=ids.map(BlobId),
    offset_bytes=st.integers(0, 2**31),
    length_bytes=st.integers(32, 2**31 - 1),
    plain_length_bytes=st.just(0) | st.integers(1, 2**32 - 1),
)
packs = st.lists(st.tuples(ids.map(StorageId), st.lists(blobs, max_size=5)), max_size=5)

PACK = StorageId(bytes(range(32)))
BLOB = PackedBlob(BlobKind.TREE, BlobId(bytes(range(32, 64))), 7, 40, 0)
BLOB_JSON = {"id": BLOB.id.hex(), "type": "tree", "offset": 7, "length": 40}
PACK_JSON = {"id": PACK.hex(), "blobs": [BLOB_JSON]}


@given(packs)
def test_decode_undoes_encode(expected: list[tuple[StorageId, list[PackedBlob]]]) -> None:
    """A blob that the index forgets or misplaces cannot be restored."""
    assert decode_index(encode_index(expected)) == IndexFile(expected, [])


@given(packs)
def test_text_is_compact_json_with_a_newline(expected: list[tuple[StorageId, list[PackedBlob]]]) -> None:
    """Go's encoder writes exactly this; a stray space would show that two tools' indexes differ."""
    text = encode_index(expected)
    assert text == json.dumps(json.loads(text), separators=(",", ":")).encode() + b"\n"


def test_text_has_the_fields_of_restic_in_their_order() -> None:
    """restic's own reader depends on these names."""
    compressed = PackedBlob(BlobKind.DATA, BLOB.id, 47, 99, 1000)
    assert encode_index([(PACK, [BLOB, compressed])]) == (
        b'{"packs":[{"id":"%b","blobs":[{"id":"%b","type":"tree","offset":7,"length":40},'
        b'{"id":"%b","type":"data","offset":47,"length":99,"uncompressed_length":1000}]}]}\n'
    ) % (PACK.hex().encode(), BLOB.id.hex().encode(), BLOB.id.hex().encode())
    assert encode_index([]) == b'{"packs":[]}\n'


@pytest.mark.parametrize(
    "document",
    [
        [PACK_JSON],
        {"packs": [PACK_JSON]},
        {"supersedes": None, "packs": [PACK_JSON]},
        {"packs": [PACK_JSON | {"size": 12, "time": "2024-01-01T00:00:00Z"}], "packs_to_delete": [], "new": {"a": [1]}},
        {"packs": [{"id": PACK.hex(), "blobs": [BLOB_JSON | {"uncompressed_length": 0, "note": None}]}]},
    ],
)
def test_every_layout_of_the_years_is_read(document: object) -> None:
    """Repositories of early restic (a bare array) and of rustic (fields of its own) must open."""
    for text in (json.dumps(document), json.dumps(document, indent=2)):
        assert decode_index(text.encode()) == IndexFile([(PACK, [BLOB])], [])


def test_supersedes_is_kept() -> None:
    """`repair index` removes what a superseded index named."""
    old = StorageId(b"\x07" * 32)
    assert decode_index(json.dumps({"supersedes": [old.hex()], "packs": []}).encode()) == IndexFile([], [old])


@pytest.mark.parametrize("text", [b"{}", b'{"packs":null}', b"[]", b'{"packs":[]}'])
def test_empty_index_is_empty(text: bytes) -> None:
    """An interrupted run may leave an index without packs; it is no damage."""
    assert decode_index(text) == IndexFile([], [])


@pytest.mark.parametrize(
    "blob",
    [
        {"id": "00"},
        {"id": None},
        {"type": "blob"},
        {"type": ["data"]},
        {"type": None},
        {"offset": -1},
        {"offset": 1.5},
        {"offset": True},
        {"offset": "0"},
        {"offset": 2**32},
        {"offset": 2**70},
        {"length": 31},
        {"length": None},
        {"length": 2**32},
        {"uncompressed_length": -1},
        {"uncompressed_length": 2**32},
        {"uncompressed_length": "5"},
    ],
)
def test_impossible_entries_are_refused(blob: dict[str, object]) -> None:
    """An offset or length that cannot be would become a read of the wrong bytes."""
    with pytest.raises(IntegrityError):
        decode_index(json.dumps({"packs": [{"id": PACK.hex(), "blobs": [BLOB_JSON | blob]}]}).encode())
