"""One line, or one JSON document, that says how far an operation is: restic's own for backup and restore."""

from __future__ import annotations

from limpet.cli.formatting import format_bytes, format_duration, format_percent
from limpet.progress import Progress


def status_line(progress: Progress, elapsed_s: float, remaining_s: int) -> str:
    """How far the operation is, for a person."""
    if progress.operation == "backup":
        return _backup_line(progress, elapsed_s, remaining_s)
    if progress.operation == "restore":
        return _restore_line(progress, elapsed_s)
    return counter_line(progress, elapsed_s)


def status_text(progress: Progress, elapsed_s: float, remaining_s: int) -> str:
    """`status_line`, and in lines of their own the files a backup is reading: what goes into a log."""
    names = sorted(progress.current.copy()) if progress.operation == "backup" else []
    return "\n".join([status_line(progress, elapsed_s, remaining_s), *names])


def counter_line(progress: Progress, elapsed_s: float) -> str:
    """How far an operation is that only counts things, named by the operation."""
    start = f"[{format_duration(elapsed_s)}]"
    if not progress.files_total:
        return f"{start}          {progress.files_done} {progress.operation}"
    percent = format_percent(progress.files_done, progress.files_total)
    return f"{start} {percent}  {progress.files_done} / {progress.files_total} {progress.operation}"


def status_document(progress: Progress, elapsed_s: float, remaining_s: int) -> dict[str, object]:
    """How far the operation is, for a program."""
    total = progress.bytes_total or 0
    first: dict[str, object] = {"seconds_elapsed": int(elapsed_s)}
    if progress.operation == "restore":
        counts: dict[str, object] = {
            "total_files": progress.files_total or 0,
            "files_restored": progress.files_done,
            "files_skipped": progress.files_skipped,
            "files_deleted": progress.files_deleted,
            "total_bytes": total,
            "bytes_restored": progress.bytes_done,
            "bytes_skipped": progress.bytes_skipped,
        }
    else:
        first["seconds_remaining"] = remaining_s
        counts = {
            "total_files": progress.files_total or 0,
            "files_done": progress.files_done,
            "total_bytes": total,
            "bytes_done": progress.bytes_done,
            "error_count": progress.errors,
            "current_files": sorted(progress.current.copy()),
        }
    percent_done = {"percent_done": progress.bytes_done / total if total else 0}
    return {"message_type": "status"} | _without_zeros(first) | percent_done | _without_zeros(counts)


def _without_zeros(fields: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value}


def _backup_line(progress: Progress, elapsed_s: float, remaining_s: int) -> str:
    start = f"[{format_duration(elapsed_s)}]"
    if progress.files_total is None:
        return f"{start} {progress.files_done} files, {format_bytes(progress.bytes_done)}, {progress.errors} errors"
    percent = eta = ""
    total = progress.bytes_total or 0
    if remaining_s and progress.bytes_done < total:
        percent = format_percent(progress.bytes_done, total) + "  "
        eta = f" ETA {format_duration(remaining_s)}"
    return (
        f"{start} {percent}{progress.files_done} files {format_bytes(progress.bytes_done)}, "
        f"total {progress.files_total} files {format_bytes(total)}, {progress.errors} errors{eta}"
    )


def _restore_line(progress: Progress, elapsed_s: float) -> str:
    total = progress.bytes_total or 0
    line = (
        f"[{format_duration(elapsed_s)}] {format_percent(progress.bytes_done, total)}  "
        f"{progress.files_done} files/dirs {format_bytes(progress.bytes_done)}, "
        f"total {progress.files_total or 0} files/dirs {format_bytes(total)}"
    )
    if progress.files_skipped:
        line += f", skipped {progress.files_skipped} files/dirs {format_bytes(progress.bytes_skipped)}"
    if progress.files_deleted:
        line += f", deleted {progress.files_deleted} files/dirs"
    return line
