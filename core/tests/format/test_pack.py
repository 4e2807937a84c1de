"""Pack headers: round trips, sizes, and the search for the header at a pack's end."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.crypto import SEAL_OVERHEAD, Box, MasterKey
from limpet.format.pack import (
    COMPRESSED_ENTRY_SIZE,
    EAGER_TAIL_SIZE,
    ENTRY_SIZE,
    HEADER_OVERHEAD,
    MAX_HEADER_ENTRIES,
    MAX_SEALED_HEADER_SIZE,
    BlobKind,
    PackedBlob,
    decode_header,
    encode_header,
    encode_trailer,
    header_length_from_trailer,
    pack_size_from,
    sealed_header,
    tail_size_needed,
)
from limpet.ids import BlobId

U32_MAX = 2**32 - 1


@st.composite
def packs(draw: st.DrawFn, max_blobs: int = 20, max_length: int = U32_MAX) -> list[PackedBlob]:
    """The blobs of one pack, offsets without gaps."""
    blobs: list[PackedBlob] = []
    offset_bytes = 0
    for _ in range(draw(st.integers(1, max_blobs))):
        length = draw(st.integers(SEAL_OVERHEAD, max_length))
        plain_length = draw(st.just(0) | st.integers(1, U32_MAX))
        blob_id = BlobId(draw(st.binary(min_size=32, max_size=32)))
        blobs.append(PackedBlob(draw(st.sampled_from(BlobKind)), blob_id, offset_bytes, length, plain_length))
        offset_bytes += length
    return blobs


@given(packs())
def test_decode_undoes_encode(blobs: list[PackedBlob]) -> None:
    """A header that reads otherwise than it was written makes `repair index` lose blobs."""
    assert decode_header(encode_header(blobs)) == blobs
    assert decode_header(memoryview(encode_header(blobs)), pack_size_from(blobs)) == blobs


def test_header_bytes() -> None:
    """The layout is restic's: type, lengths in little-endian, id."""
    first, second = BlobId(bytes(range(32))), BlobId(bytes(range(32, 64)))
    blobs = [
        PackedBlob(BlobKind.DATA, first, 0, 0x0102, 0),
        PackedBlob(BlobKind.TREE, second, 0x0102, 0x30, 0x04030201),
    ]
    assert encode_header(blobs) == b"\x00\x02\x01\x00\x00" + first + b"\x03\x30\x00\x00\x00\x01\x02\x03\x04" + second
    assert [blob.data_length_bytes for blob in blobs] == [0x0102 - 32, 0x04030201]
    assert pack_size_from(blobs) == 0x0132 + ENTRY_SIZE + COMPRESSED_ENTRY_SIZE + 36


@given(packs(max_length=2000))
def test_pack_size_is_that_of_the_file(blobs: list[PackedBlob]) -> None:
    """`prune` and `check` compare the computed size with the stored one."""
    body = sum(blob.length_bytes for blob in blobs)
    header = Box(MasterKey.generate()).seal(encode_header(blobs))
    assert pack_size_from(blobs) == body + len(header) + len(encode_trailer(len(header)))


@given(packs(), st.integers(-40, 40).filter(bool))
def test_wrong_pack_size_is_noticed(blobs: list[PackedBlob], wrong_by: int) -> None:
    """A file with bytes too many or too few is not the pack that its header describes."""
    with pytest.raises(IntegrityError, match="its header says"):
        decode_header(encode_header(blobs), pack_size_from(blobs) + wrong_by)


@given(packs(), st.data())
def test_cut_headers_are_noticed(blobs: list[PackedBlob], data: st.DataObject) -> None:
    """Half an entry must not be read beyond its end, nor ignored."""
    header = encode_header(blobs)
    cut = data.draw(st.integers(0, len(header) - 1))
    boundaries = {len(encode_header(blobs[:count])) for count in range(1, len(blobs))}
    if cut in boundaries:
        assert decode_header(header[:cut]) == blobs[: sorted(boundaries).index(cut) + 1]
    else:
        with pytest.raises(IntegrityError):
            decode_header(header[:cut])


def test_gaps_cannot_be_encoded() -> None:
    """Offsets are not stored: a gap would shift every later blob."""
    with pytest.raises(ValueError, match="offset 33 should start at 32"):
        encode_header([_blob(0, 32), _blob(33, 32)])


@pytest.mark.parametrize(
    "entry",
    [
        b"\x04" + (100).to_bytes(4, "little") + bytes(32),
        b"\xff" + (100).to_bytes(4, "little") + bytes(32),
        b"\x00" + (31).to_bytes(4, "little") + bytes(32),
        b"\x01" + (0).to_bytes(4, "little") + bytes(32),
        b"\x02" + (100).to_bytes(4, "little") + (0).to_bytes(4, "little") + bytes(32),
        b"\x03" + (5).to_bytes(4, "little") + (9).to_bytes(4, "little") + bytes(32),
    ],
)
def test_impossible_entries_are_refused(entry: bytes) -> None:
    """Types and lengths that no packer writes must not become reads at absurd places."""
    with pytest.raises(IntegrityError, match=r"type|length"):
        decode_header(entry)


@pytest.mark.parametrize("count", [*range(1, 40), 400])
def test_header_is_found_for_every_length(count: int) -> None:
    """restic once failed for headers that just missed its first read (issue 1633)."""
    box = Box(MasterKey.generate())
    for compressed in (0, count // 2, count):
        blobs = [_blob(number * 40, 40, 9 if number < compressed else 0) for number in range(count)]
        header = box.seal(encode_header(blobs))
        pack = os.urandom(count * 40) + header + encode_trailer(len(header))
        for first_read in {EAGER_TAIL_SIZE, len(header) + 3, len(header) + 4, len(header) + 5, 4, len(pack)}:
            tail = pack[-first_read:]
            needed = tail_size_needed(tail, len(pack))
            assert needed == len(header) + 4
            if needed > len(tail):
                with pytest.raises(IntegrityError, match="only"):
                    sealed_header(tail, len(pack))
                tail = pack[-needed:]
            assert decode_header(box.open(sealed_header(tail, len(pack))), len(pack)) == blobs


def test_stated_lengths_are_checked_before_use() -> None:
    """A damaged trailer must not make anyone read or allocate gigabytes."""
    pack_size = 100_000_000
    least, most = SEAL_OVERHEAD + ENTRY_SIZE, MAX_SEALED_HEADER_SIZE
    for length in (least, most):
        assert header_length_from_trailer(encode_trailer(length), pack_size) == length
    for length in (0, 1, 31, 32, least - 1, most + 1, pack_size - 3, U32_MAX):
        with pytest.raises(IntegrityError, match="header"):
            header_length_from_trailer(encode_trailer(length), pack_size)
    for size in range(HEADER_OVERHEAD + ENTRY_SIZE):
        with pytest.raises(IntegrityError):
            header_length_from_trailer(encode_trailer(least), size)
    with pytest.raises(IntegrityError, match="100 bytes states a header of 97"):
        header_length_from_trailer(encode_trailer(97), 100)
    with pytest.raises(IntegrityError):
        header_length_from_trailer(b"\x00\x01", pack_size)


def test_full_header_is_still_readable() -> None:
    """A packer that fills its header to the limit must not write a pack that nobody reads."""
    blobs = [_blob(number * 40, 40, 9) for number in range(MAX_HEADER_ENTRIES)]
    sealed_size = len(encode_header(blobs)) + SEAL_OVERHEAD
    assert header_length_from_trailer(encode_trailer(sealed_size), pack_size_from(blobs)) == sealed_size
    assert sealed_size + COMPRESSED_ENTRY_SIZE > MAX_SEALED_HEADER_SIZE


def _blob(offset_bytes: int, length_bytes: int, plain_length_bytes: int = 0) -> PackedBlob:
    return PackedBlob(BlobKind.DATA, BlobId(os.urandom(32)), offset_bytes, length_bytes, plain_length_bytes)
