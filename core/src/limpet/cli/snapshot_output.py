"""Snapshots as restic shows them: the table, the heading of a group, and the JSON document."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from limpet.cli.formatting import format_bytes
from limpet.cli.table import format_table
from limpet.cli.times import format_local, zone_name
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import NS_PER_S, format_second, fraction_text
from limpet.ids import short
from limpet.repository.snapshots import SnapshotGroup, StoredSnapshot


def snapshot_fields(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot's own JSON, as a document."""
    fields: dict[str, Any] = json.loads(encode_snapshot(snapshot))
    return fields


def snapshot_document(stored: StoredSnapshot) -> dict[str, Any]:
    """The snapshot's JSON with its id, for programs."""
    return snapshot_fields(stored.snapshot) | {"id": stored.id.hex(), "short_id": short(stored.id)}


def snapshot_line(stored: StoredSnapshot) -> str:
    """`snapshot 1a2b3c4d of [/home] at 2024-01-01 12:00:00.123456789 +0100 CET by me@host`."""
    snapshot = stored.snapshot
    paths = " ".join(snapshot.paths)
    return (
        f"snapshot {short(stored.id)} of [{paths}] at {go_time(snapshot.time.ns, snapshot.time.offset_s)} "
        f"by {snapshot.username}@{snapshot.hostname}"
    )


def go_time(ns: int, offset_s: int | None) -> str:
    """A time as Go's `Time.String` shows it: with the zone's abbreviation where it is UTC or the local one."""
    local = time.localtime(ns // NS_PER_S)
    if offset_s is None:
        offset_s = local.tm_gmtoff
    head, _zone = format_second(ns // NS_PER_S, lambda _second: offset_s)
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    zone = f"{'-' if offset_s < 0 else '+'}{hours:02d}{minutes:02d}"
    foreign_name = zone if offset_s else "UTC"
    name = local.tm_zone if offset_s == local.tm_gmtoff else foreign_name
    return f"{head.replace('T', ' ')}{fraction_text(ns % NS_PER_S)} {zone} {name}"


def snapshot_table(
    snapshots: Sequence[StoredSnapshot],
    *,
    compact: bool = False,
    reasons: Sequence[Sequence[str]] | None = None,
) -> str:
    """The table of the snapshots, oldest first, with restic's columns; `reasons` in the snapshots' order."""
    order = sorted(range(len(snapshots)), key=lambda number: snapshots[number].time_ns)
    has_size = any(stored.snapshot.summary is not None for stored in snapshots)
    with_reasons = bool(reasons) and not compact
    if compact:
        headers = ["ID", "Time", "Host", "Tags  "]
    else:
        headers = ["ID", "Time", "Host      ", "Tags      ", *(["Reasons"] if with_reasons else []), "Paths"]
    rows = []
    for number in order:
        snapshot = snapshots[number].snapshot
        row = [short(snapshots[number].id), format_local(snapshot.time.ns), snapshot.hostname]
        row.append(("\n" if compact else ",").join(snapshot.tags))
        if reasons and with_reasons:
            row.append("\n".join(reasons[number]))
        if not compact:
            row.append("\n".join(snapshot.paths))
        if has_size:
            row.append(format_bytes(snapshot.summary.total_bytes_processed) if snapshot.summary else "")
        rows.append(row)
    spaced = not compact and any(len(stored.snapshot.paths) > 1 for stored in snapshots)
    footer = [f"Timestamps shown in {zone_name()}", f"{len(snapshots)} snapshots"]
    return format_table([*headers, *(["Size"] if has_size else [])], rows, footer, spaced=spaced)


def group_heading(group: SnapshotGroup) -> str | None:
    """The line above a group's table; None where nothing sets the group apart."""
    parts = []
    if group.hostname:
        parts.append(f"host [{group.hostname}]")
    if group.tags is not None:
        parts.append(f"tags [{', '.join(group.tags)}]")
    if group.paths is not None:
        parts.append(f"paths [{', '.join(group.paths)}]")
    return f"snapshots for ({', '.join(parts)}):" if parts else None


def group_key_document(group: SnapshotGroup) -> dict[str, Any]:
    """What the group's snapshots have in common, for programs."""
    return {
        "hostname": group.hostname,
        "paths": None if group.paths is None else list(group.paths),
        "tags": None if group.tags is None else list(group.tags),
    }
