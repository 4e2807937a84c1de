"""The twin of `_native.IndexTable` in plain Python: the tests' oracle, and the fallback without the extension."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter
from sys import getsizeof
from typing import TypeAlias

from limpet.format import Buffer

Location: TypeAlias = tuple[bytes, int, int, int]
"""Pack id, offset, length, plain length (0 = stored uncompressed); bytes."""

PackBlob: TypeAlias = tuple[int, bytes, int, int, int]
"""Kind, blob id, offset, length, plain length."""

ID_SIZE = 32
MAX_U32 = 2**32 - 1
MAX_PACKS = 2**31

PLAIN_ENTRY = 1 + 4 + ID_SIZE
COMPRESSED_ENTRY = PLAIN_ENTRY + 4
SEAL_OVERHEAD = 32
HEADER_OVERHEAD = SEAL_OVERHEAD + 4

UNEXPECTED = "not an index file in a layout that restic or Limpet writes"

# The one grammar that load_json takes, with JSON's white space before every token. Possessive: nothing is tried twice.
_WS = rb"[ \t\r\n]*+"
_ID = rb'"([0-9a-f]{64})"'
_NUMBER = rb"(0|[1-9][0-9]*+)"


def _tokens(*tokens: bytes) -> bytes:
    return _WS.join((b"", *tokens))


def _list(item: bytes) -> bytes:
    return _tokens(rb"\[") + rb"(?:" + item + rb"(?:" + _tokens(rb",") + item + rb")*+)?+" + _tokens(rb"\]")


_BLOB = (
    _tokens(rb"\{", rb'"id"', rb":", _ID, rb",", rb'"type"', rb":", rb'"(data|tree)"')
    + _tokens(rb",", rb'"offset"', rb":", _NUMBER, rb",", rb'"length"', rb":", _NUMBER)
    + rb"(?:"
    + _tokens(rb",", rb'"uncompressed_length"', rb":", _NUMBER)
    + rb")?+"
    + _tokens(rb"\}")
)
_PACK = _tokens(rb"\{", rb'"id"', rb":", _ID, rb",", rb'"blobs"', rb":") + _list(_BLOB) + _tokens(rb"\}")
_SUPERSEDES = rb"(?:" + _tokens(rb'"supersedes"', rb":") + _list(_tokens(_ID)) + _tokens(rb",") + rb")?+"
_INDEX = (
    rb"(?:" + _tokens(rb"\{") + _SUPERSEDES + _tokens(rb'"packs"', rb":") + _list(_PACK) + _tokens(rb"\}")
    + rb"|" + _list(_PACK) + rb")" + _WS
)  # fmt: skip

_INDEX_FILE = re.compile(_INDEX)
_PACKS_START = re.compile(rb'\{\s*"supersedes"[^]]*\]')
_PACK_ITEM = re.compile(_PACK)
_PACK_ID = re.compile(_ID)
_BLOB_ITEM = re.compile(_BLOB)


class IndexTable:
    """The locations of all blobs of a repository; several locations of one blob are kept, the first added first."""

    def __init__(self) -> None:
        self._pack_numbers: dict[bytes, int] = {}
        self._pack_blobs: list[list[PackBlob]] = []
        self._locations: dict[tuple[int, bytes], list[Location]] = {}
        self._entries: list[tuple[int, bytes, int]] = []
        self._pack_ids: list[bytes] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add_pack(self, pack_id: bytes, /) -> int:
        """The number of the pack, new or known."""
        number = self._pack_numbers.setdefault(_checked_id(pack_id), len(self._pack_blobs))
        if number == len(self._pack_blobs):
            self._pack_blobs.append([])
            self._pack_ids.append(pack_id)
        return number

    def add(  # noqa: PLR0917  # as many as a location has parts; keywords would cost in the C type
        self, kind: int, blob_id: bytes, pack_number: int, offset: int, length: int, plain_length: int, /
    ) -> None:
        """Adds one location unless exactly it is there; ValueError for what does not fit."""
        _checked_id(blob_id)
        _checked("the kind", kind, 1)
        _checked("the pack number", pack_number, MAX_PACKS - 1)
        for what, value in (("offset", offset), ("length", length), ("plain length", plain_length)):
            _checked(f"the {what}", value, MAX_U32)
        if pack_number >= len(self._pack_blobs):
            raise ValueError(f"no pack has the number {pack_number}")
        self._put(pack_number, (kind, blob_id, offset, length, plain_length))

    def _put(self, pack_number: int, blob: PackBlob) -> None:
        kind, blob_id, offset, length, plain_length = blob
        locations = self._locations.setdefault((kind, blob_id), [])
        location = (self._pack_ids[pack_number], offset, length, plain_length)
        if location not in locations:
            locations.append(location)
            self._pack_blobs[pack_number].append(blob)
            self._entries.append((kind, blob_id, pack_number))

    def load_json(self, data: Buffer, /) -> int:
        """Adds all blobs of an index file's JSON, returns how many were new; ValueError and nothing added otherwise."""
        scanned = _scan(bytes(data))
        before = len(self)
        for pack_id, blobs in scanned:
            number = self.add_pack(pack_id)
            for blob in blobs:
                self._put(number, blob)
        return len(self) - before

    def contains(self, kind: int, blob_id: bytes, /) -> bool:
        """Whether the blob is known."""
        return _key(kind, blob_id) in self._locations

    def find(self, kind: int, blob_id: bytes, /) -> Location | None:
        """The location as first added, or None."""
        found = self._locations.get(_key(kind, blob_id))
        return found[0] if found else None

    def find_all(self, kind: int, blob_id: bytes, /) -> list[Location]:
        """Every location of the blob, in the order added."""
        return list(self._locations.get(_key(kind, blob_id), ()))

    def pack_ids(self) -> list[bytes]:
        """The ids of all packs, by number."""
        return list(self._pack_ids)

    def pack_blobs(self, pack: int | bytes, /) -> list[PackBlob]:
        """The blobs of a pack, given by number or id, by offset; KeyError for an unknown pack."""
        return sorted(self._pack_blobs[self._pack_number(pack)], key=itemgetter(2))

    def pack_json(self, pack: int | bytes, /) -> bytes:
        """The pack and its blobs by offset, as JSON of an index file; KeyError for an unknown one."""
        number = self._pack_number(pack)
        blobs = ",".join(_blob_json(blob) for blob in self.pack_blobs(number))
        return f'{{"id":"{self._pack_ids[number].hex()}","blobs":[{blobs}]}}'.encode("ascii")

    def pack_count(self) -> int:
        """How many packs there are."""
        return len(self._pack_ids)

    def find_pack(self, pack_id: bytes, /) -> int | None:
        """The number of the pack, or None."""
        return self._pack_numbers.get(_checked_id(pack_id))

    def pack_id(self, number: int, /) -> bytes:
        """The id of the pack; KeyError for none."""
        return self._pack_ids[self._pack_number(number)]

    def pack_sizes(self) -> dict[bytes, int]:
        """The file size in bytes that follows from a pack's entries, of packs that have any."""
        return {
            pack_id: HEADER_OVERHEAD
            + sum(length + (COMPRESSED_ENTRY if plain else PLAIN_ENTRY) for _, _, _, length, plain in blobs)
            for pack_id, blobs in zip(self._pack_ids, self._pack_blobs, strict=True)
            if blobs
        }

    def iterate(self, kind: int | None = None, /) -> Iterator[tuple[int, bytes, int]]:
        """(kind, blob id, pack number) of every entry, in the order added."""
        if kind is not None:
            _checked("the kind", kind, 1)
        return (entry for entry in self._entries if kind is None or entry[0] == kind)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """(length, plain length) of every entry, in the order added. For the twin of the marks."""
        blobs = [iter(one) for one in self._pack_blobs]
        return (next(blobs[pack])[3:] for _, _, pack in self._entries)

    def _pack_number(self, pack: int | bytes) -> int:
        """The number of a pack given by number or id; KeyError for an unknown one."""
        if not isinstance(pack, int):
            return self._pack_numbers[_checked_id(pack)]
        if _checked("the pack number", pack, MAX_PACKS - 1) >= len(self._pack_blobs):
            raise KeyError(pack)
        return pack

    def memory_bytes(self) -> int:
        """Bytes that the table takes, roughly."""
        entry_bytes = 3 * getsizeof((0, b"", 0, 0, 0)) + getsizeof(bytes(ID_SIZE))
        return getsizeof(self._locations) + getsizeof(self._entries) + entry_bytes * len(self)


def _scan(data: bytes) -> list[tuple[bytes, list[PackBlob]]]:
    if _INDEX_FILE.fullmatch(data) is None:
        raise ValueError(UNEXPECTED)
    start = _PACKS_START.search(data)
    packs = []
    for pack in _PACK_ITEM.finditer(data, start.end() if start else 0):
        pack_id = _PACK_ID.search(data, pack.start())
        assert pack_id is not None
        blobs = [_blob(blob) for blob in _BLOB_ITEM.finditer(data, pack_id.end(), pack.end())]
        packs.append((bytes.fromhex(pack_id[1].decode("ascii")), blobs))
    return packs


def _blob(match: re.Match[bytes]) -> PackBlob:
    kind = 1 if match[2] == b"tree" else 0
    offset, length, plain_length = (_number(digits or b"0") for digits in (match[3], match[4], match[5]))
    if length < SEAL_OVERHEAD or offset + length > MAX_U32:
        raise ValueError(UNEXPECTED)
    return (kind, bytes.fromhex(match[1].decode("ascii")), offset, length, plain_length)


def _blob_json(blob: PackBlob) -> str:
    kind, blob_id, offset, length, plain = blob
    more = f',"uncompressed_length":{plain}' if plain else ""
    return f'{{"id":"{blob_id.hex()}","type":"{"tree" if kind else "data"}","offset":{offset},"length":{length}{more}}}'


def _number(digits: bytes) -> int:
    # By length first: Python has an error of its own for absurdly long integers.
    if len(digits) > len(str(MAX_U32)) or int(digits) > MAX_U32:
        raise ValueError(UNEXPECTED)
    return int(digits)


def _key(kind: int, blob_id: bytes) -> tuple[int, bytes]:
    return _checked("the kind", kind, 1), _checked_id(blob_id)


def _checked(what: str, value: int, most: int) -> int:
    if not 0 <= value <= most:
        raise ValueError(f"{what} must be from 0 to {most}, not {value!r}")
    return value


def _checked_id(identifier: bytes) -> bytes:
    if not isinstance(identifier, bytes):
        raise TypeError(f"expected bytes, {type(identifier).__name__} found")
    if len(identifier) != ID_SIZE:
        raise ValueError(f"an id has {ID_SIZE} bytes, not {len(identifier)}")
    return identifier
