"""What is told of single items of an operation: one line for a person, one document for a program."""

from __future__ import annotations

from limpet.cli.formatting import format_bytes, neutralise
from limpet.progress import ItemEvent

SCAN_FINISHED = "scan_finished"


def item_line(operation: str, event: ItemEvent) -> str:
    """One item done, as restic's -vv shows it."""
    path = neutralise(event.path) if operation == "backup" else event.path  # as restic
    if event.action == SCAN_FINISHED:
        size = format_bytes(event.data_size_bytes)
        return f"scan finished in {event.duration_s:.3f}s: {event.total_files} files, {size}"
    start = f"{event.action:<9} {path}"
    if operation == "restore":
        return (
            start
            if event.is_folder or event.is_special or event.action == "deleted"
            else f"{start} with size {format_bytes(event.size_bytes)}"
        )
    if operation != "backup" or event.action not in {"new", "modified"}:
        return start
    metadata = f", {format_bytes(event.metadata_stored_bytes)} metadata" if event.is_folder else ""
    return (
        f"{start}, saved in {event.duration_s:.3f}s ({format_bytes(event.data_size_bytes)} added, "
        f"{format_bytes(event.data_stored_bytes)} stored{metadata})"
    )


def item_document(operation: str, event: ItemEvent) -> dict[str, object]:
    """One item done, as restic's --json -v (backup) or -vv (restore) tells it."""
    document: dict[str, object] = {"message_type": "verbose_status", "action": event.action, "item": event.path}
    if operation == "restore":
        return document | {"size": event.size_bytes}
    return document | {
        "duration": event.duration_s,
        "data_size": event.data_size_bytes,
        "data_size_in_repo": event.data_stored_bytes,
        "metadata_size": event.metadata_size_bytes,
        "metadata_size_in_repo": event.metadata_stored_bytes,
        "total_files": event.total_files,
    }
