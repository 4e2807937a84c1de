"""Pack files: sealed blobs, then the sealed header, then the header's sealed length (4 bytes, little-endian).

Header entries are `type(1) length(4) id(32)` for types 0 (data) and 1 (tree), and `type(1) length(4) plain length(4)
id(32)` for types 2 and 3, the same compressed. `length` counts the sealed blob; offsets follow from the lengths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.crypto import SEAL_OVERHEAD
from limpet.ids import ID_SIZE, BlobId

TRAILER_SIZE = 4
ENTRY_SIZE = 1 + 4 + ID_SIZE  # type, length, id
COMPRESSED_ENTRY_SIZE = ENTRY_SIZE + 4  # and the plain length
HEADER_OVERHEAD = SEAL_OVERHEAD + TRAILER_SIZE
MIN_FILE_SIZE = HEADER_OVERHEAD + ENTRY_SIZE

MAX_SEALED_HEADER_SIZE = 16 * 1024 * 1024
"""restic reads no larger header."""

MAX_HEADER_ENTRIES = (MAX_SEALED_HEADER_SIZE - SEAL_OVERHEAD) // COMPRESSED_ENTRY_SIZE
"""A packer must start a new pack here, however small the blobs are."""

EAGER_TAIL_SIZE = HEADER_OVERHEAD + 15 * COMPRESSED_ENTRY_SIZE
"""A good number of bytes to read first from a pack's end: most headers fit, and one request is enough."""

_COMPRESSED = 2
_ENTRY = struct.Struct("<BI32s")
_COMPRESSED_ENTRY = struct.Struct("<BII32s")


class BlobKind(Enum):
    """What a blob holds; the value is the type in pack headers, `word` the one in index files."""

    DATA = 0
    TREE = 1

    @property
    def word(self) -> str:
        """`data` or `tree`."""
        return "data" if self is BlobKind.DATA else "tree"


KIND_OF_WORD = {kind.word: kind for kind in BlobKind}
_KINDS = (BlobKind.DATA, BlobKind.TREE)


@dataclass(frozen=True, slots=True)
class PackedBlob:
    """Where a blob lies in its pack. `length_bytes` is sealed; `plain_length_bytes` is 0 if it is not compressed."""

    kind: BlobKind
    id: BlobId
    offset_bytes: int
    length_bytes: int
    plain_length_bytes: int

    @property
    def data_length_bytes(self) -> int:
        """Length of the blob's plaintext."""
        return self.plain_length_bytes or self.length_bytes - SEAL_OVERHEAD

    @property
    def entry_size(self) -> int:
        """Bytes that this blob takes in the pack's header."""
        return COMPRESSED_ENTRY_SIZE if self.plain_length_bytes else ENTRY_SIZE


def encode_header(blobs: Iterable[PackedBlob]) -> bytes:
    """The header before sealing. The blobs come in the order of their offsets and without gaps (ValueError)."""
    entries = []
    offset_bytes = 0
    for blob in blobs:
        if blob.offset_bytes != offset_bytes:
            raise ValueError(f"blob at offset {blob.offset_bytes} should start at {offset_bytes}")
        offset_bytes += blob.length_bytes
        if blob.plain_length_bytes:
            kind = blob.kind.value + _COMPRESSED
            entries.append(_COMPRESSED_ENTRY.pack(kind, blob.length_bytes, blob.plain_length_bytes, blob.id))
        else:
            entries.append(_ENTRY.pack(blob.kind.value, blob.length_bytes, blob.id))
    return b"".join(entries)


def encode_trailer(sealed_header_size: int) -> bytes:
    """The last four bytes of a pack."""
    return sealed_header_size.to_bytes(TRAILER_SIZE, "little")


def decode_header(plain: Buffer, pack_size: int | None = None) -> list[PackedBlob]:
    """The blobs that an opened header lists, in the order of their offsets; at least one.

    With `pack_size` (of the whole file, in bytes) blobs, header and trailer must fill the file exactly. IntegrityError
    for unknown types, impossible lengths, a cut entry or a wrong size.
    """
    blobs: list[PackedBlob] = []
    position = offset_bytes = 0
    end = len(plain)
    while position < end:
        kind = plain[position]
        if kind > 3:
            raise IntegrityError(f"pack header has an entry of unknown type {kind}")
        entry_size = COMPRESSED_ENTRY_SIZE if kind & _COMPRESSED else ENTRY_SIZE
        if position + entry_size > end:
            raise IntegrityError("pack header ends in the middle of an entry")
        if kind & _COMPRESSED:
            _, length, plain_length, blob_id = _COMPRESSED_ENTRY.unpack_from(plain, position)
        else:
            _, length, blob_id = _ENTRY.unpack_from(plain, position)
            plain_length = 0
        if length < SEAL_OVERHEAD or (kind & _COMPRESSED and not plain_length):
            raise IntegrityError(f"pack header has a blob of impossible length {length} (plain {plain_length})")
        blobs.append(PackedBlob(_KINDS[kind & 1], BlobId(blob_id), offset_bytes, length, plain_length))
        offset_bytes += length
        position += entry_size
    if not blobs:
        raise IntegrityError("pack header lists no blob")
    if pack_size is not None and offset_bytes + end + HEADER_OVERHEAD != pack_size:
        raise IntegrityError(f"pack has {pack_size} bytes, its header says {offset_bytes + end + HEADER_OVERHEAD}")
    return blobs


def header_length_from_trailer(trailer: Buffer, pack_size: int) -> int:
    """The sealed header's length, as the last 4 bytes of a pack of `pack_size` bytes say; IntegrityError if absurd."""
    if pack_size < MIN_FILE_SIZE or len(trailer) != TRAILER_SIZE:
        raise IntegrityError(f"pack of {pack_size} bytes is too short; the least is {MIN_FILE_SIZE}")
    length = int.from_bytes(trailer, "little")
    if length < SEAL_OVERHEAD + ENTRY_SIZE:
        raise IntegrityError(f"pack states a header of {length} bytes, too short for one blob")
    if length > pack_size - TRAILER_SIZE:
        raise IntegrityError(f"pack of {pack_size} bytes states a header of {length} bytes")
    if length > MAX_SEALED_HEADER_SIZE:
        raise IntegrityError(f"pack states a header of {length} bytes; the most is {MAX_SEALED_HEADER_SIZE}")
    return length


def tail_size_needed(tail: Buffer, pack_size: int) -> int:
    """How many bytes at the end of a pack hold its header and trailer, as the pack's last bytes `tail` state.

    Read `min(EAGER_TAIL_SIZE, pack_size)` bytes, ask this, and read again only if the answer is larger.
    """
    return header_length_from_trailer(memoryview(tail)[-TRAILER_SIZE:], pack_size) + TRAILER_SIZE


def sealed_header(tail: Buffer, pack_size: int) -> memoryview:
    """The sealed header out of a pack's last bytes, which may be more than it needs; IntegrityError if less."""
    needed = tail_size_needed(tail, pack_size)
    if needed > len(tail):
        raise IntegrityError(f"pack's header and trailer have {needed} bytes, only {len(tail)} were read")
    return memoryview(tail)[len(tail) - needed : len(tail) - TRAILER_SIZE]


def pack_size_from(blobs: Iterable[PackedBlob]) -> int:
    """The size in bytes of the whole pack file that holds these blobs."""
    return HEADER_OVERHEAD + sum(blob.length_bytes + blob.entry_size for blob in blobs)
