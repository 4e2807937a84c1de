"""How the check cuts packs and trees into portions."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.ids import BlobId, StorageId
from limpet.operations.check.trees import MAX_TREES, batches
from limpet.operations.check.windows import PackBlob, windows
from limpet.repository.blob_index import BlobLocation

LIMIT = 100


def _blob(offset: int, length: int) -> PackBlob:
    return (0, bytes(32), offset, length, 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 150), max_size=40), st.integers(0, 60))
def test_windows_of_sound_packs(lengths: list[int], header: int) -> None:
    """The windows are the pack, each blob lies in its own, and none is larger than it has to be."""
    offsets = [sum(lengths[:number]) for number in range(len(lengths))]
    blobs = [_blob(offset, length) for offset, length in zip(offsets, lengths, strict=True)]
    size = sum(lengths) + header
    found = windows(blobs, size, LIMIT)
    assert [window.start for window in found] == [0, *(window.end for window in found[:-1])]
    assert found[-1].end == size
    assert [window.first_blob for window in found] == [0, *(window.end_blob for window in found[:-1])]
    assert found[-1].end_blob == len(blobs)
    for window in found:
        inside = blobs[window.first_blob : window.end_blob]
        assert all(window.start <= blob[2] and blob[2] + blob[3] <= window.end for blob in inside)
        assert window.length_bytes <= max(LIMIT, *lengths, 0) + (header if window is found[-1] else 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(32, 150)), max_size=20), st.integers(0, 500))
def test_windows_of_any_index(places: list[tuple[int, int]], size: int) -> None:
    """An index that lies about a pack still leads to windows that are the pack, with every blob looked at once."""
    blobs = [_blob(offset, length) for offset, length in sorted(places)]
    found = windows(blobs, size, LIMIT)
    assert [window.start for window in found] == [0, *(window.end for window in found[:-1])]
    assert found[-1].end == size
    assert all(window.length_bytes >= 0 for window in found)
    numbers = [number for window in found for number in range(window.first_blob, window.end_blob)]
    assert numbers == list(range(len(blobs)))
    for window in found:
        inside = blobs[window.first_blob : window.end_blob]
        assert all(window.start <= blob[2] and min(size, blob[2] + blob[3]) <= window.end for blob in inside)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 500_000), st.integers(32, 200)), max_size=60))
def test_batches_of_trees(places: list[tuple[int, int, int]]) -> None:
    """Every tree is loaded once, inside the range that is read for it, and batches fit into a buffer."""
    trees = [
        (BlobId(number.to_bytes(32, "big")), BlobLocation(StorageId(bytes([pack]) * 32), offset, length, 0))
        for number, (pack, offset, length) in enumerate(places)
    ]
    found = list(batches(trees, 1000))
    assert sorted(tree[0] for batch in found for one in batch for tree in one.trees) == [tree[0] for tree in trees]
    for batch in found:
        assert sum(one.length_bytes for one in batch) <= 1000
        assert sum(len(one.trees) for one in batch) <= MAX_TREES
        for one in batch:
            for _, place in one.trees:
                assert place.pack_id == one.pack_id
                assert one.offset_bytes <= place.offset_bytes
                assert place.offset_bytes + place.length_bytes <= one.offset_bytes + one.length_bytes
