"""Index files: which blobs lie where in which packs.

Written as `{"packs":[{"id","blobs":[{"id","type","offset","length","uncompressed_length"?}]}]}` and a newline. Read as
well: the old field `supersedes`, the bare array of packs from before restic 0.1, and fields that Limpet does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.crypto import SEAL_OVERHEAD
from limpet.format.jsonobject import JsonObject, parse_json
from limpet.format.pack import KIND_OF_WORD, BlobKind, PackedBlob
from limpet.ids import BlobId, StorageId, is_hex_id

MAX_BLOBS = 50_000
"""An index file is full with about this many entries, some 8 MiB of JSON."""

_U32_MAX = 2**32 - 1
_PLAIN = b'{"id":"%b","type":"%b","offset":%d,"length":%d}'
_COMPRESSED = b'{"id":"%b","type":"%b","offset":%d,"length":%d,"uncompressed_length":%d}'
_WORDS = {kind: kind.word.encode("ascii") for kind in BlobKind}


@dataclass(frozen=True, slots=True)
class IndexFile:
    """The packs with their blobs, in the file's order, and the ids of older index files that this one replaces."""

    packs: list[tuple[StorageId, list[PackedBlob]]]
    supersedes: list[StorageId]


def encode_index(packs: Iterable[tuple[StorageId, Sequence[PackedBlob]]]) -> bytes:
    """The JSON as restic writes it, newline and all."""
    return b'{"packs":[' + b",".join(_encode_pack(pack_id, blobs) for pack_id, blobs in packs) + b"]}\n"


def decode_index(json: Buffer) -> IndexFile:
    """The index in any of its layouts; IntegrityError for anything malformed.

    Takes some 400 bytes of memory a blob: a whole repository's index belongs into the `IndexTable`.
    """
    value = parse_json(json, "index")
    if isinstance(value, list):
        return IndexFile([_decode_pack(item) for item in value], [])
    fields = JsonObject(value, "index").fields
    packs = [_decode_pack(item) for item in _list(fields.get("packs"), "packs")]
    supersedes = [StorageId(_decode_id(item)) for item in _list(fields.get("supersedes"), "supersedes")]
    return IndexFile(packs, supersedes)


def _encode_pack(pack_id: StorageId, blobs: Sequence[PackedBlob]) -> bytes:
    entries = b",".join(_encode_blob(blob) for blob in blobs)
    return b'{"id":"%b","blobs":[%b]}' % (pack_id.hex().encode("ascii"), entries)


def _encode_blob(blob: PackedBlob) -> bytes:
    blob_id = blob.id.hex().encode("ascii")
    word = _WORDS[blob.kind]
    if blob.plain_length_bytes:
        return _COMPRESSED % (blob_id, word, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes)
    return _PLAIN % (blob_id, word, blob.offset_bytes, blob.length_bytes)


def _decode_pack(value: object) -> tuple[StorageId, list[PackedBlob]]:
    if not isinstance(value, dict):
        raise IntegrityError("index: a pack is not a JSON object")
    pack_id = StorageId(_decode_id(value.get("id")))
    return pack_id, [_decode_blob(item) for item in _list(value.get("blobs"), "blobs")]


def _decode_blob(value: object) -> PackedBlob:
    if not isinstance(value, dict):
        raise IntegrityError("index: a blob is not a JSON object")
    get = value.get
    word = get("type")
    kind = KIND_OF_WORD.get(word) if isinstance(word, str) else None
    if kind is None:
        raise IntegrityError(f"index: a blob has the unknown type {str(word)[:20]!r}")
    offset_bytes, length_bytes, plain_length_bytes = get("offset"), get("length"), get("uncompressed_length") or 0
    if not (
        type(offset_bytes) is type(length_bytes) is type(plain_length_bytes) is int
        and offset_bytes >= 0
        and length_bytes >= SEAL_OVERHEAD
        and offset_bytes + length_bytes <= _U32_MAX
        and 0 <= plain_length_bytes <= _U32_MAX
    ):
        raise IntegrityError("index: a blob has an impossible offset or length")
    return PackedBlob(kind, BlobId(_decode_id(get("id"))), offset_bytes, length_bytes, plain_length_bytes)


def _decode_id(value: object) -> bytes:
    if not isinstance(value, str) or not is_hex_id(value):
        raise IntegrityError("index: an id is not 64 hex digits")
    return bytes.fromhex(value)


def _list(value: object, name: str) -> list[object]:
    # Go writes an empty list that was never made as null.
    if value is None:
        return []
    if not isinstance(value, list):
        raise IntegrityError(f"index: field {name!r} is not a list")
    return value
