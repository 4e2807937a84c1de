"""Fuzzing: whatever bytes a decoder is given, it ends in a value or in a documented error."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limpet.errors import LimpetError
from limpet.format.compression import Compressor, Decompressor, Level
from limpet.format.config import Config, decode_config, encode_config
from limpet.format.crypto import Box, MasterKey
from limpet.format.indexfile import decode_index, encode_index
from limpet.format.kdf import KdfParameters
from limpet.format.keyfile import KeyFile, decode_keyfile, encode_keyfile
from limpet.format.lockfile import LockFile, decode_lockfile, encode_lockfile
from limpet.format.pack import BlobKind, PackedBlob, decode_header, encode_header, encode_trailer, sealed_header
from limpet.format.timestamps import Time
from limpet.format.unpacked import decode_unpacked, encode_unpacked
from limpet.ids import BlobId, StorageId

BOX = Box(MasterKey(b"e" * 32, b"k" * 16, b"r" * 16))
COMPRESSOR, DECOMPRESSOR = Compressor(Level.AUTO), Decompressor()

BLOBS = [
    PackedBlob(BlobKind.DATA, BlobId(b"\x01" * 32), 0, 100, 0),
    PackedBlob(BlobKind.TREE, BlobId(b"\x02" * 32), 100, 64, 500),
]
INDEX = encode_index([(StorageId(b"\x03" * 32), BLOBS)])
CONFIG = encode_config(Config(2, "ab" * 32, 0x3DA3358B4DC173))
KEY = encode_keyfile(KeyFile(Time(0, 0), "u", "h", KdfParameters(32768, 8, 1, bytes(64)), bytes(100)))
LOCK = encode_lockfile(LockFile(Time(0, 0), True, "h", "u", 1, 2, 3))
TEXT = b"some text, some text and some more of it " * 50

JSON_DECODERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "index": (decode_index, INDEX),
    "config": (decode_config, CONFIG),
    "key": (decode_keyfile, KEY),
    "lock": (decode_lockfile, LOCK),
}
DECODERS: dict[str, tuple[Callable[[bytes], object], bytes]] = JSON_DECODERS | {
    "sealed": (BOX.open, BOX.seal(TEXT)),
    "frame": (lambda data: DECOMPRESSOR.decompress(data, len(TEXT)), COMPRESSOR.compress(TEXT)),
    "frame of unknown size": (lambda data: DECOMPRESSOR.decompress_unknown(data, 10**6), COMPRESSOR.compress(TEXT)),
    "unpacked": (lambda data: decode_unpacked(data, DECOMPRESSOR), encode_unpacked(INDEX, 2, COMPRESSOR)),
    "header": (decode_header, encode_header(BLOBS)),
    "header and size": (lambda data: decode_header(data, 278), encode_header(BLOBS)),
    "tail": (lambda data: sealed_header(data, 278), bytes(110) + encode_trailer(110)),
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text()
    | st.sampled_from(["", "00" * 32]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """The valid bytes with some of them cut, changed, inserted, repeated or moved."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 40)))
        change = draw(st.sampled_from(["cut", "flip", "replace", "repeat", "truncate"]))
        if change == "cut":
            del data[start:end]
        elif change == "flip" and start < len(data):
            data[start] ^= draw(st.integers(1, 255))
        elif change == "replace":
            data[start:end] = draw(st.binary(max_size=40))
        elif change == "repeat":
            data[start:start] = data[start:end] * draw(st.integers(1, 50))
        elif change == "truncate":
            del data[end:]
    return bytes(data)


@pytest.mark.parametrize("name", DECODERS)
@given(st.data())
def test_damaged_bytes_end_in_a_documented_error(name: str, data: st.DataObject) -> None:
    """One flipped bit in the storage must not end a restore with a traceback."""
    decode, valid = DECODERS[name]
    decode(valid)
    _survives(decode, data.draw(damaged(valid)))


@pytest.mark.parametrize("name", DECODERS)
@given(st.binary(max_size=400))
@example(b"[" * 100_000)
@example(b'{"packs":' * 5_000)
@example(b"\x28\xb5\x2f\xfd" * 3)
def test_random_bytes_end_in_a_documented_error(name: str, data: bytes) -> None:
    """Nor may bytes that never were a file of ours."""
    _survives(DECODERS[name][0], data)


@pytest.mark.parametrize("name", JSON_DECODERS)
@given(st.data())
def test_surprising_values_end_in_a_documented_error(name: str, data: st.DataObject) -> None:
    """Valid JSON with a value of another type in any place is what other programs' bugs look like."""
    decode, valid = JSON_DECODERS[name]
    document = json.loads(valid)
    _survives(decode, json.dumps(_with_surprise(document, data)).encode())


def _survives(decode: Callable[[bytes], object], data: bytes) -> None:
    message = "decoded"
    try:
        decode(data)
    except LimpetError as error:
        message = str(error)
    assert 0 < len(message) < 300, "one line for a person"
    assert "\n" not in message


def _with_surprise(document: object, data: st.DataObject) -> object:
    """The document with one value, at any depth, replaced or left out."""
    if isinstance(document, dict) and document and data.draw(st.integers(0, 9)):
        name = data.draw(st.sampled_from(sorted(document)))
        if data.draw(st.integers(0, 9)) == 0:
            return {key: value for key, value in document.items() if key != name}
        return document | {name: _with_surprise(document[name], data)}
    if isinstance(document, list) and document and data.draw(st.integers(0, 9)):
        place = data.draw(st.integers(0, len(document) - 1))
        return [*document[:place], _with_surprise(document[place], data), *document[place + 1 :]]
    return data.draw(json_values)
