"""dm-era: which blocks were written since the era of the parent snapshot.

The device mapper's target `era` notes for every block in which era it was last written. A backup begins a new era
before it reads anything, and remembers its number: all that is written from then on counts as changed next time.
Source: Documentation/admin-guide/device-mapper/era.rst, era_invalidate(8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from limpet.errors import SourceError

from limpet_source_device.devicemapper import SECTOR, MappedDevice, device_file, run
from limpet_source_device.following import Followed
from limpet_source_device.ranges import Range, contain, merged, rest_of

KIND = "era"
_FIRST_ERA = 1
"""Blocks that never were written have an era before it."""
_BLOCKS = re.compile(r'<(?:block block="(\d+)"|range begin="(\d+)" end\s*=\s*"(\d+)")\s*/>')


def follow_era(device: MappedDevice, size_bytes: int, memory: Mapping[str, Any] | None) -> Followed:
    """What is unchanged since the memory was made, and what to remember. SourceError where that cannot be had."""
    metadata, _origin, block_sectors = device.arguments[:3]
    block_bytes = int(block_sectors) * SECTOR
    device.tell("checkpoint")
    era = _current_era(device)  # before looking: what is written between here and there is looked at twice
    device.tell("take_metadata_snap")
    try:
        path = device_file(metadata)
        written = _written_since(path, _FIRST_ERA, block_bytes, size_bytes)
        changed = None
        if memory is not None and _is_of_this(memory, block_bytes, era, written):
            changed = _written_since(path, memory["era"], block_bytes, size_bytes)
    finally:
        device.tell("drop_metadata_snap")
    remembered = {"kind": KIND, "block": block_bytes, "era": era, "written": written}
    if changed is None:
        return Followed(remembered, reason="dm-era knows nothing of the parent snapshot" if memory else "")
    return Followed(remembered, unchanged=rest_of(changed, size_bytes))


def parse_blocks(text: str, block_bytes: int, size_bytes: int) -> list[Range]:
    """The ranges that `era_invalidate` prints: single blocks, and ranges whose end is behind the last block."""
    ranges = []
    for block, begin, end in _BLOCKS.findall(text):
        first, last = (int(block), int(block) + 1) if block else (int(begin), int(end))
        ranges.append((first * block_bytes, last * block_bytes))
    return merged(ranges, size_bytes)


def _written_since(metadata: str, era: int, block_bytes: int, size_bytes: int) -> list[Range]:
    text = run(["era_invalidate", "--metadata-snapshot", "--written-since", str(era), metadata])
    if "<blocks" not in text or text.count("<block ") + text.count("<range ") != len(_BLOCKS.findall(text)):
        raise SourceError(f"era_invalidate: what it prints of {metadata} is not understood")
    return parse_blocks(text, block_bytes, size_bytes)


def _is_of_this(memory: Mapping[str, Any], block_bytes: int, era: int, written: Sequence[Range]) -> bool:
    """Whether the memory is of these very eras: the metadata may have been made anew, and be counted from one again.

    What was ever written then has to be in what was ever written now.
    """
    return (
        memory.get("kind") == KIND
        and memory.get("block") == block_bytes
        and isinstance(memory.get("era"), int)
        and memory["era"] <= era
        and contain(written, [(begin, end) for begin, end in memory.get("written", ())])
    )


def _current_era(device: MappedDevice) -> int:
    words = device.status()
    try:
        return int(words[2])
    except (IndexError, ValueError) as error:
        raise SourceError(f"dmsetup status {device.name}: {' '.join(words)!r} is not understood") from error
