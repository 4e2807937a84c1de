"""What `limpet backup` says at the end: restic's lines, or its summary document."""

from __future__ import annotations

from typing import Any

from limpet.cli.formatting import format_bytes, format_duration
from limpet.cli.session import Session
from limpet.format.timestamps import format_time
from limpet.ids import short
from limpet.operations.backup import BackupOptions, BackupResult


def print_result(session: Session, result: BackupResult, options: BackupOptions) -> None:
    """Print the figures of a finished backup; whoever is told of the run's lines gets them as text in any case."""
    if session.json:
        session.print_json(_document(result, options))
    for line in _lines(result, options, verbose=session.verbose > 0):
        session.say(line)


def _lines(result: BackupResult, options: BackupOptions, *, verbose: bool) -> list[str]:
    counts, stored = result.counts, result.stored
    verb = "Would add" if options.dry_run else "Added"
    blobs = [f"Data Blobs:  {stored.data_blobs:5d} new", f"Tree Blobs:  {stored.tree_blobs:5d} new"] if verbose else []
    lines = [
        "",
        f"Files:       {counts.files_new:5d} new, {counts.files_changed:5d} changed, {counts.files_unmodified:5d} "
        "unmodified",
        f"Dirs:        {counts.dirs_new:5d} new, {counts.dirs_changed:5d} changed, {counts.dirs_unmodified:5d} "
        "unmodified",
        *blobs,
        f"{verb} to the repository: {format_bytes(stored.added_bytes):<5} "
        f"({format_bytes(stored.packed_bytes):<5} stored)",
        "",
        f"processed {counts.files_processed} files, {format_bytes(counts.bytes_processed)} in "
        f"{format_duration(result.duration_s)}",
    ]
    if not options.dry_run:
        saved = result.snapshot
        lines.append("skipped creating snapshot" if saved is None else f"snapshot {short(saved.id)} saved")
    return lines


def _document(result: BackupResult, options: BackupOptions) -> dict[str, Any]:
    dry_run = {"dry_run": True} if options.dry_run else {}
    return {"message_type": "summary"} | figures(result) | dry_run


def figures(result: BackupResult) -> dict[str, int | float | str]:
    """What the backup achieved, by the names of restic's summary."""
    counts, stored = result.counts, result.stored
    found: dict[str, int | float | str] = {
        "files_new": counts.files_new,
        "files_changed": counts.files_changed,
        "files_unmodified": counts.files_unmodified,
        "dirs_new": counts.dirs_new,
        "dirs_changed": counts.dirs_changed,
        "dirs_unmodified": counts.dirs_unmodified,
        "data_blobs": stored.data_blobs,
        "tree_blobs": stored.tree_blobs,
        "data_added": stored.added_bytes,
        "data_added_packed": stored.packed_bytes,
        "total_files_processed": counts.files_processed,
        "total_bytes_processed": counts.bytes_processed,
        "total_duration": result.duration_s,
        "backup_start": format_time(result.started_ns),
        "backup_end": format_time(result.ended_ns),
    }
    if result.snapshot is not None:
        found["snapshot_id"] = result.snapshot.id.hex()
    return found
