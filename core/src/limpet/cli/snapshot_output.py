"""Snapshots as restic shows them: the table, the heading of a group, and the JSON document."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from limpet.cli.formatting import format_bytes
from limpet.cli.table import format_table
from limpet.cli.times import format_local, zone_name
from limpet.format.snapshot import Protection, Snapshot, encode_snapshot
from limpet.format.timestamps import NS_PER_S, format_second, fraction_text
from limpet.ids import StorageId, short
from limpet.repository.snapshots import GroupBy, SnapshotGroup, StoredSnapshot


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


def sorted_lists(stored: StoredSnapshot, by: GroupBy) -> StoredSnapshot:
    """The snapshot as restic shows it among others: its paths sorted, and its tags too where they make the groups."""
    snapshot = stored.snapshot
    tags = sorted(snapshot.tags) if by.tags else snapshot.tags
    return StoredSnapshot(stored.id, replace(snapshot, paths=sorted(snapshot.paths), tags=tags))


Column = tuple[str, Callable[[StoredSnapshot], str]]


def snapshot_table(
    snapshots: Sequence[StoredSnapshot],
    *,
    compact: bool = False,
    is_long: bool = False,
    reasons: Sequence[Sequence[str]] | None = None,
) -> str:
    """The table of the snapshots, oldest first, with restic's columns; `reasons` in the snapshots' order.

    With `is_long` also with what each added, its description and until when it is protected.
    """
    oldest_first = sorted(snapshots, key=lambda stored: stored.time_ns)
    columns = _compact_columns() if compact else _columns(_by_id(snapshots, reasons) if reasons else None)
    if is_long:
        columns += _long_columns()
    elif any(stored.snapshot.summary is not None for stored in snapshots):
        columns.append(("Size", _counted("total_bytes_processed", format_bytes)))
    rows = [[cell(stored) for _header, cell in columns] for stored in oldest_first]
    spaced = not compact and any(len(stored.snapshot.paths) > 1 for stored in snapshots)
    footer = [f"Timestamps shown in {zone_name()}", f"{len(snapshots)} snapshots"]
    return format_table([header for header, _cell in columns], rows, footer, spaced=spaced)


def _compact_columns() -> list[Column]:
    return [
        ("ID", lambda stored: short(stored.id)),
        ("Time", lambda stored: format_local(stored.time_ns)),
        ("Host", lambda stored: stored.snapshot.hostname),
        ("Tags  ", lambda stored: "\n".join(stored.snapshot.tags)),
    ]


def _columns(reasons: Mapping[StorageId, Sequence[str]] | None) -> list[Column]:
    return [
        ("ID", lambda stored: short(stored.id)),
        ("Time", lambda stored: format_local(stored.time_ns)),
        ("Host      ", lambda stored: stored.snapshot.hostname),
        ("Tags      ", lambda stored: ",".join(stored.snapshot.tags)),
        *([] if reasons is None else [("Reasons", lambda stored: "\n".join(reasons[stored.id]))]),
        ("Paths", lambda stored: "\n".join(stored.snapshot.paths)),
    ]


def _long_columns() -> list[Column]:
    return [
        ("Files", _counted("total_files_processed", str)),
        ("Size", _counted("total_bytes_processed", format_bytes)),
        ("Added", _counted("data_added", format_bytes)),
        ("Stored", _counted("data_added_packed", format_bytes)),
        ("Protected", lambda stored: _protection(stored.snapshot.protection)),
        ("Description", lambda stored: stored.snapshot.description),
    ]


def _counted(field: str, in_words: Callable[[int], str]) -> Callable[[StoredSnapshot], str]:
    """A cell with a number of the summary; empty for a snapshot without one."""

    def cell(stored: StoredSnapshot) -> str:
        summary = stored.snapshot.summary
        return "" if summary is None else in_words(getattr(summary, field))

    return cell


def _protection(protection: Protection | None) -> str:
    if protection is None:
        return ""
    return "always" if protection.until is None else f"until {format_local(protection.until.ns)}"


def _by_id(snapshots: Sequence[StoredSnapshot], reasons: Sequence[Sequence[str]]) -> dict[StorageId, Sequence[str]]:
    return {stored.id: some for stored, some in zip(snapshots, reasons, strict=True)}


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
