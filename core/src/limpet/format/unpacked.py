"""Index, snapshot and lock files before sealing: raw JSON (version 1), or `0x02` and a zstd frame (version 2)."""

from __future__ import annotations

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.compression import Compressor, Decompressor

COMPRESSED_MARK = 0x02
RAW_MARKS = frozenset(b"{[")

MAX_PLAIN_BYTES = 1024**3
"""No index or snapshot is larger (restic's indexes are about 8 MiB): a bound against compression bombs."""


def encode_unpacked(json: bytes, version: int, compressor: Compressor) -> bytes:
    """What is sealed for a repository of that version: the JSON itself, or compressed from version 2 on."""
    if version < 2:
        return json
    return bytes((COMPRESSED_MARK,)) + compressor.compress(json)


def decode_unpacked(plain: Buffer, decompressor: Decompressor) -> bytes:
    """The JSON in an opened file; IntegrityError for an encoding that is neither of the two."""
    if len(plain) == 0:
        raise IntegrityError("file is empty inside its seal")
    if plain[0] in RAW_MARKS:
        return bytes(plain)
    if plain[0] != COMPRESSED_MARK:
        raise IntegrityError(f"file has an unknown encoding (first byte 0x{plain[0]:02x}); a newer Limpet may read it")
    return decompressor.decompress_unknown(memoryview(plain)[1:], MAX_PLAIN_BYTES)
