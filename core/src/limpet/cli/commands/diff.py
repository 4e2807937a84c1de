"""`limpet diff`: what changed from one snapshot to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from limpet.cli.formatting import format_bytes
from limpet.cli.lines import LineWriter
from limpet.cli.session import Session, pass_session
from limpet.errors import LimpetError, NotFoundError, RepositoryError, UsageError
from limpet.format.gojson import json_string
from limpet.ids import short
from limpet.operations.diff import Change, DiffCounts, DiffResult, UnknownBlobError, diff
from limpet.repository.snapshots import StoredSnapshot, find_snapshot, tree_of

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

ARGUMENTS = 2


@click.command("diff")
@click.option("--metadata", "with_metadata", is_flag=True, help="print changes in metadata")
@click.argument("names", nargs=-1, metavar="SNAPSHOTID SNAPSHOTID")
@pass_session
def command(session: Session, *, names: Sequence[str], with_metadata: bool) -> None:
    """Show differences between two snapshots.

    Each line starts with what happened: + added, - removed, U metadata updated (with --metadata), M content modified,
    T type changed, ? content changed although all metadata is the same (bitrot?). SNAPSHOTID:FOLDER compares only
    what is in the folder.
    """
    if len(names) != ARGUMENTS:
        raise UsageError("specify two snapshot IDs")
    lines = LineWriter(session.terminal)

    def tell(error: LimpetError) -> None:
        lines.flush()
        session.terminal.error(str(error) if isinstance(error, UnknownBlobError) else f"error: {error}")

    with session.locked_repository() as repository, lines:
        found = [_find(repository, name) for name in names]
        (first, _), (second, _) = found
        session.say(f"comparing snapshot {short(first.id)} to {short(second.id)}:\n\n")
        repository.load_index(session.reporter)
        trees = [tree_of(repository, stored, subfolder) for stored, subfolder in found]
        result = diff(
            repository,
            trees[0],
            trees[1],
            with_metadata=with_metadata,
            on_change=_printer(session, lines),
            on_error=tell,
        )
    if session.json:
        session.print_json(_document(result, names))
    else:
        session.print(_text(result))


def _find(repository: Repository, name: str) -> tuple[StoredSnapshot, str]:
    try:
        return find_snapshot(repository, name)
    except NotFoundError as error:
        raise RepositoryError(str(error)) from error  # restic has `Fatal:` here, unlike elsewhere


def _printer(session: Session, lines: LineWriter) -> Callable[[Change], None] | None:
    if session.quiet:
        return None
    if session.json:
        return lambda change: lines.write(
            b'{"message_type":"change","path":%b,"modifier":"%b"}'
            % (json_string(change.path), change.modifier.encode())
        )
    return lambda change: lines.write(change.modifier.ljust(5).encode() + change.path)


def _document(result: DiffResult, names: Sequence[str]) -> dict[str, object]:
    return {
        "message_type": "statistics",
        "source_snapshot": names[0],
        "target_snapshot": names[1],
        "changed_files": result.changed_files,
        "added": _counts_document(result.added),
        "removed": _counts_document(result.removed),
    }


def _counts_document(counts: DiffCounts) -> dict[str, object]:
    return {
        "files": counts.files,
        "dirs": counts.folders,
        "others": counts.others,
        "data_blobs": counts.data_blobs,
        "tree_blobs": counts.tree_blobs,
        "bytes": counts.size_bytes,
    }


def _text(result: DiffResult) -> str:
    added, removed = result.added, result.removed
    return "\n".join(
        [
            "",
            f"Files:       {added.files:5d} new, {removed.files:5d} removed, {result.changed_files:5d} changed",
            f"Dirs:        {added.folders:5d} new, {removed.folders:5d} removed",
            f"Others:      {added.others:5d} new, {removed.others:5d} removed",
            f"Data Blobs:  {added.data_blobs:5d} new, {removed.data_blobs:5d} removed",
            f"Tree Blobs:  {added.tree_blobs:5d} new, {removed.tree_blobs:5d} removed",
            f"  Added:   {format_bytes(added.size_bytes):<5s}",
            f"  Removed: {format_bytes(removed.size_bytes):<5s}",
        ]
    )
