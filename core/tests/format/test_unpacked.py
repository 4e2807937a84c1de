"""The encoding of index, snapshot and lock files inside their seal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.compression import Compressor, Decompressor, Level
from limpet.format.unpacked import decode_unpacked, encode_unpacked

documents = st.builds(lambda mark, rest: mark + rest, st.sampled_from([b"{", b"["]), st.binary(max_size=500))


@given(documents, st.sampled_from([1, 2]), st.sampled_from(Level))
def test_decode_undoes_encode(json: bytes, version: int, level: Level) -> None:
    """An index or snapshot that does not come back is a backup that cannot be found."""
    plain = encode_unpacked(json, version, Compressor(level))
    assert decode_unpacked(plain, Decompressor()) == json
    assert decode_unpacked(memoryview(plain), Decompressor()) == json


def test_encoding_depends_on_the_version() -> None:
    """restic reads no compression in a version 1 repository, and expects the mark in version 2."""
    json = b'{"packs":[]}' * 20
    compressor = Compressor(Level.OFF)
    assert encode_unpacked(json, 1, compressor) == json
    assert encode_unpacked(json, 2, compressor)[:5] == b"\x02\x28\xb5\x2f\xfd"
    assert len(encode_unpacked(json, 2, compressor)) < len(json), "restic compresses metadata even with `off`"


@pytest.mark.parametrize("plain", [b"", b"\x02", b"\x03\x28\xb5\x2f\xfd", b"\x00", b" {}", b"\x02{}"])
def test_unknown_encodings_are_refused(plain: bytes) -> None:
    """A later format must be named as such, not parsed as JSON."""
    with pytest.raises(IntegrityError):
        decode_unpacked(plain, Decompressor())
