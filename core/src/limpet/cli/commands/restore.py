"""`limpet restore`: a snapshot, or a part of it, back into a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from limpet.cli.formatting import format_bytes, format_duration
from limpet.cli.pattern_flags import PatternFlags, pattern_options
from limpet.cli.restore_selection import select_paths, select_xattrs
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_output import snapshot_line
from limpet.errors import IntegrityError, LimpetError, RepositoryError, UsageError
from limpet.format.timestamps import go_duration
from limpet.operations.restore import Overwrite, RestoreOptions, RestoreResult, restore, verify_files
from limpet.repository.snapshots import find_snapshot, tree_of

Command = TypeVar("Command", bound=Callable[..., object])


def _many(*flags: str, metavar: str, text: str) -> Callable[[Command], Command]:
    return click.option(*flags, multiple=True, metavar=metavar, help=f"{text} (can be specified multiple times)")


@click.command("restore", context_settings={"allow_interspersed_args": True})
@click.option("-t", "--target", default="", metavar="directory", help="directory to extract data to")
@click.option("--into", metavar="scheme:place", help="restore into a database, a device, ... instead of a directory")
@pattern_options
@_many("--exclude-xattr", metavar="pattern", text="exclude xattr by pattern")
@_many("--include-xattr", metavar="pattern", text="include xattr by pattern")
@snapshot_filter_options(single=True)
@click.option("--dry-run", is_flag=True, help="do not write any data, just show what would be done")
@click.option("--sparse", is_flag=True, help="restore files as sparse")
@click.option("--verify", is_flag=True, help="verify restored files content")
@click.option(
    "--overwrite",
    default="always",
    metavar="behavior",
    help="overwrite behavior, one of (always|if-changed|if-newer|never)",
)
@click.option(
    "--delete",
    is_flag=True,
    help="delete files from target directory if they do not exist in snapshot. "
    "Use '--dry-run -vv' to check what would be deleted",
)
@click.option(
    "--ownership-by-name",
    is_flag=True,
    help="restore file ownership by user name and group name (except POSIX ACLs)",
)
@click.argument("snapshot_ids", nargs=-1, metavar="SNAPSHOTID")
@pass_session
def command(
    session: Session, /, *, snapshot_ids: Sequence[str], target: str, into: str | None, verify: bool, **flags: Any
) -> None:
    """Extract the data from a snapshot from the repository to a directory.

    The special snapshotID "latest" restores the latest snapshot in the repository. With "snapshotID:subfolder"
    only that folder of the snapshot is restored, its content right into the target directory.

    With --into a file goes back into what its source took it from: "snapshotID:/path/of/file" names it, else it is
    what the source of that scheme has in the snapshot.
    """
    options = _options(flags)
    if into is not None:
        _refuse_with_into(target, options, verify=verify)
    _refuse_contradictions(snapshot_ids, into or target, options, verify=verify)
    with session.locked_repository() as repository:
        chosen = snapshot_filter(flags["host"], flags["tag"], flags["path"])
        if into is not None:
            from limpet.cli.restore_into import run_restore_into  # noqa: PLC0415  # needs more than other restores

            run_restore_into(session, repository, snapshot_ids[0], chosen, into)
            return
        try:
            stored, subfolder = find_snapshot(repository, snapshot_ids[0], chosen)
        except (RepositoryError, IntegrityError) as error:
            raise RepositoryError(f"failed to find snapshot: {error}") from error
        repository.load_index(session.reporter)
        tree_id = tree_of(repository, stored, subfolder)
        session.say(f"restoring {snapshot_line(stored)} to {target}")
        result = restore(repository, tree_id, Path(target), options, session.reporter)
        _print_summary(session, result)
        _raise_errors(result)
        if not verify:
            return
        session.say(f"verifying files in {target}")
        started_ns = time.monotonic_ns()
        count = verify_files(repository, tree_id, Path(target), options, result, reporter=session.reporter)
        _raise_errors(result)
        took = go_duration(time.monotonic_ns() - started_ns)
        session.say(f"finished verifying {count} files in {target} (took {took})")


def _options(flags: dict[str, Any]) -> RestoreOptions:
    sets = [PatternFlags.taken_from(flags, word) for word in ("exclude", "include")]
    try:
        overwrite = Overwrite(flags["overwrite"])
    except ValueError as error:
        words = "|".join(word.value for word in Overwrite)
        raise UsageError(
            f'invalid argument "{flags["overwrite"]}" for "--overwrite" flag: invalid overwrite behavior '
            f'"{flags["overwrite"]}", must be one of ({words})'
        ) from error
    return RestoreOptions(
        overwrite=overwrite,
        delete=flags["delete"],
        sparse=flags["sparse"],
        dry_run=flags["dry_run"],
        ownership_by_name=flags["ownership_by_name"],
        select=select_paths(*sets),
        select_xattr=select_xattrs(flags["exclude_xattr"], flags["include_xattr"]),
    )


def _refuse_contradictions(snapshot_ids: Sequence[str], target: str, options: RestoreOptions, *, verify: bool) -> None:
    if not snapshot_ids:
        raise UsageError("no snapshot ID specified")
    if len(snapshot_ids) > 1:
        raise UsageError(f"more than one snapshot ID specified: [{' '.join(snapshot_ids)}]")
    if not target:
        raise UsageError("please specify a directory to restore to (--target)")
    if options.dry_run and verify:
        raise UsageError("--dry-run and --verify are mutually exclusive")
    if options.delete and os.path.normpath(target) in {"/", "//"} and options.select is None:
        raise UsageError("'--target / --delete' must be combined with an include or exclude filter")


def _refuse_with_into(target: str, options: RestoreOptions, *, verify: bool) -> None:
    """Those flags are about files in a folder."""
    if target:
        raise UsageError("--into and --target are mutually exclusive")
    if verify or options != RestoreOptions():
        raise UsageError(
            "--into takes none of the flags that are about files in a folder; look at the tool's own options"
        )


def _print_summary(session: Session, result: RestoreResult) -> None:
    session.figures.update(_figures(result))
    line = _summary_line(result)
    session.terminal.log.add(line)
    if session.json:
        session.print_json({"message_type": "summary"} | _figures(result))
    else:
        session.print(line)  # even with --quiet, as restic


def _summary_line(result: RestoreResult) -> str:
    took = format_duration(result.duration_s)
    total = f"{format_bytes(result.bytes_total)}"
    if result.files_restored == result.files_total and result.bytes_restored == result.bytes_total:
        line = f"Summary: Restored {result.files_total} files/dirs ({total}) in {took}"
    else:
        line = (
            f"Summary: Restored {result.files_restored} / {result.files_total} files/dirs "
            f"({format_bytes(result.bytes_restored)} / {total}) in {took}"
        )
    if result.files_skipped:
        line += f", skipped {result.files_skipped} files/dirs {format_bytes(result.bytes_skipped)}"
    if result.files_deleted:
        line += f", deleted {result.files_deleted} files/dirs"
    return line


def _figures(result: RestoreResult) -> dict[str, int]:
    """What is not 0, by the names of restic's summary."""
    figures = {
        "seconds_elapsed": int(result.duration_s),
        "total_files": result.files_total,
        "files_restored": result.files_restored,
        "files_skipped": result.files_skipped,
        "files_deleted": result.files_deleted,
        "total_bytes": result.bytes_total,
        "bytes_restored": result.bytes_restored,
        "bytes_skipped": result.bytes_skipped,
    }
    return {name: value for name, value in figures.items() if value}


def _raise_errors(result: RestoreResult) -> None:
    if result.errors:
        raise LimpetError(f"There were {result.errors} errors")
