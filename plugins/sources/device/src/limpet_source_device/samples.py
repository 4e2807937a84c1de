"""Samples of a device, kept with its snapshot: they show when what is said to be unchanged is not.

Ways of following changes can be fooled: a device that was replaced by another one, its metadata made anew, a list of
changes that is not complete. A few blocks all over the device, the first one above all, bring most of that to light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from limpet_source_device.ranges import Range
from limpet_source_device.volume import VolumeReader

COUNT = 64
BLOCK_BYTES = 4096
FIRST_BYTES = 64 * 1024
"""Nearly every file system has its own UUID in there."""


def take_samples(volume: VolumeReader, data: Sequence[Range], size_bytes: int) -> list[list[int | str]]:
    """Offset, length and SHA-256 of blocks spread evenly over the ranges with data. OSError if one cannot be read."""
    total = sum(end - begin for begin, end in data)
    places = [(0, min(FIRST_BYTES, size_bytes))] if size_bytes else []
    wanted = [total * number // COUNT for number in range(COUNT)] if total else []
    position = 0
    for begin, end in data:
        length = end - begin
        while wanted and wanted[0] < position + length:
            offset = (begin + wanted.pop(0) - position) // BLOCK_BYTES * BLOCK_BYTES
            place = (offset, min(BLOCK_BYTES, size_bytes - offset))
            if place not in places:
                places.append(place)
        position += length
    return [[offset, length, _hash(volume, offset, length)] for offset, length in places]


def contradiction(volume: VolumeReader, memory: Mapping[str, Any], unchanged: Sequence[Range]) -> int | None:
    """Offset of a sample that is not as it was though its range is said to be unchanged; None if there is none."""
    for sample in memory.get("samples", ()):
        offset, length, kept = sample
        inside = any(begin <= offset and offset + length <= end for begin, end in unchanged)
        if inside and _hash(volume, offset, length) != kept:
            return int(offset)
    return None


def _hash(volume: VolumeReader, offset: int, length: int) -> str:
    return sha256(volume.read(offset, length)).hexdigest()
