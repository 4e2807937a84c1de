"""Thin volumes: what is mapped at all, and which blocks differ from the thin snapshot that the parent was made of.

Blocks that a volume has in common with the snapshot of last time are the very same blocks of the pool. That holds
where the one of last time is another device than this one, and no snapshot was made of it since: its blocks that were
there then are shared, and a shared block is never written in place. Source: thin-provisioning.rst of the kernel,
thin_delta(8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from limpet.errors import SourceError

from limpet_source_device.devicemapper import SECTOR, MappedDevice, device_file, mapped_device, run
from limpet_source_device.following import Followed
from limpet_source_device.ranges import Range, merged, rest_of

KIND = "thin"
_ELEMENT = re.compile(r"<(same|different|left_only|right_only|single_mapping|range_mapping)\b([^>]*)/>")
_ATTRIBUTE = re.compile(r'(\w+)="(\d+)"')
_DETAILS = "DEV,TRANSACTION,CREATE_TIME,SNAP_TIME"


def follow_thin(device: MappedDevice, size_bytes: int, memory: Mapping[str, Any] | None) -> Followed:
    """Holes, what is unchanged since the memory, and what to remember. SourceError where that cannot be had."""
    pool_number, thin_id = device.arguments[0], int(device.arguments[1])
    pool = mapped_device(pool_number)
    if pool is None or pool.kind != "thin-pool":
        raise SourceError(f"{device.name}: its pool {pool_number} is none")
    pool_uuid = pool.uuid()
    metadata = device_file(pool.arguments[0])
    block_bytes = int(pool.arguments[2]) * SECTOR
    pool.tell("reserve_metadata_snap")
    try:
        details = _details(metadata)
        remembered = {"kind": KIND, "block": block_bytes, "pool": pool_uuid, "id": thin_id}
        remembered["details"] = details.get(thin_id)
        if memory is None or not _is_usable(memory, remembered, details):
            mapped = _mapped(metadata, thin_id)
            unchanged: list[Range] = []
            reason = "the thin snapshot of last time is not there any more, or not as it was" if memory else ""
        else:
            mapped, unchanged = _difference(metadata, int(memory["id"]), thin_id)
            reason = ""
    finally:
        pool.tell("release_metadata_snap")
    # What is not mapped is zeros, unless another device shows through.
    has_origin = len(device.arguments) > 2  # pool, id, and then the external origin
    holes = [] if has_origin else rest_of(_in_bytes(mapped, block_bytes, size_bytes), size_bytes)
    return Followed(remembered, holes, _in_bytes(unchanged, block_bytes, size_bytes), reason)


def parse_mappings(text: str) -> list[Range]:
    """The blocks of the volume that `thin_dump` says are mapped."""
    found = []
    for kind, attributes in _ELEMENT.findall(text):
        values = {name: int(value) for name, value in _ATTRIBUTE.findall(attributes)}
        if kind == "single_mapping":
            found.append((values["origin_block"], values["origin_block"] + 1))
        elif kind == "range_mapping":
            found.append((values["origin_begin"], values["origin_begin"] + values["length"]))
    return found


def parse_difference(text: str) -> tuple[list[Range], list[Range]]:
    """What `thin_delta` says is mapped in the second volume, and what of it is the same in the first; in blocks."""
    mapped, same = [], []
    for kind, attributes in _ELEMENT.findall(text):
        values = {name: int(value) for name, value in _ATTRIBUTE.findall(attributes)}
        blocks = (values["begin"], values["begin"] + values["length"])
        if kind in {"same", "different", "right_only"}:
            mapped.append(blocks)
        if kind == "same":
            same.append(blocks)
    return mapped, same


def _is_usable(memory: Mapping[str, Any], now: Mapping[str, Any], details: Mapping[int, list[int]]) -> bool:
    """Whether what the two have in common cannot have changed meanwhile."""
    then = memory.get("id")
    return (
        all(memory.get(name) == now[name] for name in ("kind", "block", "pool"))
        and bool(now["pool"])  # without a UUID it may be another pool of that name
        and isinstance(then, int)
        and then != now["id"]
        and memory.get("details") is not None
        and memory["details"] == details.get(then)
    )


def _details(metadata: str) -> dict[int, list[int]]:
    """Of every thin volume: transaction and time of its making, and when a snapshot was last made of it."""
    lines = run(["thin_ls", "--metadata-snap", "--no-headers", "-o", _DETAILS, metadata]).splitlines()
    try:
        rows = [[int(word) for word in line.split()] for line in lines if line.strip()]
    except ValueError as error:
        raise SourceError(f"thin_ls: what it prints of {metadata} is not understood") from error
    return {row[0]: row[1:] for row in rows}


def _mapped(metadata: str, thin_id: int) -> list[Range]:
    text = run(["thin_dump", "--metadata-snap", "--dev-id", str(thin_id), metadata])
    if f'dev_id="{thin_id}"' not in text or "</superblock>" not in text:
        raise SourceError(f"thin_dump: what it prints of {metadata} is not understood")
    return parse_mappings(text)


def _difference(metadata: str, then: int, now: int) -> tuple[list[Range], list[Range]]:
    text = run(["thin_delta", "--metadata-snap", "--snap1", str(then), "--snap2", str(now), metadata])
    if "</superblock>" not in text or "<diff " not in text:
        raise SourceError(f"thin_delta: what it prints of {metadata} is not understood")
    return parse_difference(text)


def _in_bytes(blocks: list[Range], block_bytes: int, size_bytes: int) -> list[Range]:
    return merged([(begin * block_bytes, end * block_bytes) for begin, end in blocks], size_bytes)
