"""Index files: which blobs lie where in which packs.

Written as `{"packs":[{"id","blobs":[{"id","type","offset","length","uncompressed_length"?}]}]}` and a newline. Read as
well: the old field `supersedes`, the bare array of packs from before restic 0.1, and fields that Limpet does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.crypto import SEAL_OVERHEAD
from limpet.format.pack import KIND_OF_WORD, BlobKind, PackedBlob
from limpet.ids import BlobId, StorageId

MAX_BLOBS = 50_000
"""An index file is full with about this many entries, some 8 MiB of JSON."""

_PLAIN = b'{"id":"%b","type":"%b","offset":%d,"length":%d}'
_COMPRESSED = b'{"id":"%b","type":"%b","offset":%d,"length":%d,"uncompressed_length":%d}'
_WORDS = {kind: kind.word.encode("ascii") for kind in BlobKind}


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The packs with their blobs, in the file's order, and the ids of older index files that this one replaces."""

    packs: list[tuple[StorageId, list[PackedBlob]]]
    supersedes: list[StorageId]


def encode_index(packs: Iterable[tuple[StorageId, Iterable[PackedBlob]]]) -> bytes:
    """The JSON as restic writes it, newline and all."""
    return b'{"packs":[' + b",".join(encode_pack(pack_id, blobs) for pack_id, blobs in packs) + b"]}\n"


def decode_index(json: Buffer) -> IndexFile:
    """The index in any of its layouts; IntegrityError for anything malformed.

    Takes some 400 bytes of memory a blob: a whole repository's index belongs into the `IndexTable`.
    """
    value = read.decode_json(json, "an index")
    if isinstance(value, list):
        return IndexFile([_decode_pack(item) for item in value], [])
    fields = read.as_object(value, "an index")
    packs = [_decode_pack(item) for item in read.array(fields, "packs") or ()]
    supersedes = [StorageId(read.id_from_hex(item)) for item in read.array(fields, "supersedes") or ()]
    return IndexFile(packs, supersedes)


def encode_pack(pack_id: StorageId, blobs: Iterable[PackedBlob]) -> bytes:
    """The JSON of one pack, as an index holds it."""
    entries = b",".join(_encode_blob(blob) for blob in blobs)
    return b'{"id":"%b","blobs":[%b]}' % (pack_id.hex().encode("ascii"), entries)


def _encode_blob(blob: PackedBlob) -> bytes:
    blob_id = blob.id.hex().encode("ascii")
    word = _WORDS[blob.kind]
    if blob.plain_length_bytes:
        return _COMPRESSED % (blob_id, word, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes)
    return _PLAIN % (blob_id, word, blob.offset_bytes, blob.length_bytes)


def _decode_pack(value: object) -> tuple[StorageId, list[PackedBlob]]:
    fields = read.as_object(value, "a pack in an index")
    pack_id = StorageId(read.id_from_hex(fields.get("id")))
    return pack_id, [_decode_blob(item) for item in read.array(fields, "blobs") or ()]


def _decode_blob(value: object) -> PackedBlob:
    fields = read.as_object(value, "a blob in an index")
    word = read.string(fields, "type")
    kind = KIND_OF_WORD.get(word)
    if kind is None:
        raise IntegrityError(f"a blob in an index has the unknown type {word[:20]!r}")
    offset_bytes = read.uint(fields, "offset", read.UINT32)
    length_bytes = read.uint(fields, "length", read.UINT32)
    if length_bytes < SEAL_OVERHEAD or offset_bytes + length_bytes > read.UINT32:
        raise IntegrityError(f"a blob in an index cannot have {length_bytes} bytes at offset {offset_bytes}")
    plain_length_bytes = read.uint(fields, "uncompressed_length", read.UINT32)
    return PackedBlob(kind, BlobId(read.id_from_hex(fields.get("id"))), offset_bytes, length_bytes, plain_length_bytes)
