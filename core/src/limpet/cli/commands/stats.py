"""`limpet stats`: how large snapshots are."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.formatting import format_bytes, format_duration, format_percent
from limpet.cli.selectors import pass_over_snapshot, snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.operations.stats import CountMode, Stats, StatsProgress, stats
from limpet.repository.snapshots import select_snapshots


@click.command("stats")
@snapshot_filter_options()
@click.option(
    "--mode",
    "mode_word",
    default=CountMode.RESTORE_SIZE.value,
    metavar="string",
    help="counting mode: restore-size (default), files-by-contents, blobs-per-file or raw-data"
    ' (default "restore-size")',
)
@click.argument("names", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(
    session: Session,
    *,
    names: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    mode_word: str,
) -> None:
    """Scan the repository and show basic statistics.

    Of the snapshots that are named, or of all that the filters let pass. The modes: restore-size, the size of the
    restored files; files-by-contents, files with the same content counted once; raw-data, the blobs as they are
    stored, each once; blobs-per-file, the blobs of files with different content.
    """
    if mode_word not in {mode.value for mode in CountMode}:
        text = f"unknown counting mode: {mode_word} (use the -h flag to get a list of supported modes)"
        raise CommandExit(EXIT_FAILED, text)
    mode = CountMode(mode_word)
    with session.locked_repository() as repository:
        chosen = snapshot_filter(host, tag, path)
        snapshots = select_snapshots(repository, names, chosen, pass_over_snapshot(session.terminal))
        repository.load_index(session.reporter)
        if session.json:
            session.print_json(_document(stats(repository, snapshots, mode)))
            return
        session.print("scanning...")
        started = time.monotonic()
        progress = StatsProgress()
        result = stats(repository, snapshots, mode, progress)
        session.print(_progress_line(progress, time.monotonic() - started))
        session.print(_text(result, mode))


def _document(result: Stats) -> dict[str, object]:
    optional = {
        "total_uncompressed_size": result.uncompressed_bytes,
        "compression_ratio": _go_number(result.compression_ratio),
        "compression_progress": _go_number(result.compression_progress),
        "compression_space_saving": _go_number(result.compression_space_saving),
        "total_file_count": result.files,
        "total_blob_count": result.blobs,
    }
    filled = {name: value for name, value in optional.items() if value}
    return {"total_size": result.size_bytes, **filled, "snapshots_count": result.snapshots}


def _go_number(value: float) -> float | int:
    """Go writes whole numbers without a fraction."""
    return int(value) if value.is_integer() else value


def _progress_line(progress: StatsProgress, elapsed_s: float) -> str:
    percent = format_percent(progress.snapshots, progress.snapshots_total)
    line = f"[{format_duration(elapsed_s)}] {percent}  {progress.snapshots} / {progress.snapshots_total} snapshots"
    if progress.entries:
        line += f", {progress.entries} files"
    if progress.blobs:
        line += f", {progress.blobs} blobs"
    return f"{line}, {format_bytes(progress.size_bytes)}"


def _text(result: Stats, mode: CountMode) -> str:
    lines = [f"Stats in {mode.value} mode:", f"     Snapshots processed:  {result.snapshots}"]
    if result.blobs:
        lines.append(f"        Total Blob Count:  {result.blobs}")
    if result.files:
        lines.append(f"        Total File Count:  {result.files}")
    if result.uncompressed_bytes:
        lines.append(f" Total Uncompressed Size:  {format_bytes(result.uncompressed_bytes):<5s}")
    lines.append(f"              Total Size:  {format_bytes(result.size_bytes):<5s}")
    if result.compression_progress > 0:
        lines.append(f"    Compression Progress:  {result.compression_progress:.2f}%")
    if result.compression_ratio > 0:
        lines.append(f"       Compression Ratio:  {result.compression_ratio:.2f}x")
    if result.compression_space_saving > 0:
        lines.append(f"Compression Space Saving:  {result.compression_space_saving:.2f}%")
    return "\n".join(lines)
