"""`limpet rewrite`: snapshots made anew without some files, or with other metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.pattern_flags import PatternFlags, pattern_options
from limpet.cli.replacement_output import ReplacementOutput
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.time_option import parse_time_option
from limpet.errors import LimpetError, UsageError
from limpet.format.gojson import go_quoted
from limpet.format.timestamps import Time
from limpet.ids import short
from limpet.operations.rewrite import (
    Excluding,
    Including,
    NewMetadata,
    PathFilter,
    Replacement,
    RewriteOptions,
    SnapshotRewriter,
)
from limpet.progress import Reporter
from limpet.repository.snapshots import StoredSnapshot


@click.command("rewrite")
@snapshot_filter_options()
@pattern_options
@click.option("--forget", is_flag=True, help="remove original snapshots after creating new ones")
@click.option("-n", "--dry-run", is_flag=True, help="do not do anything, just print what would be done")
@click.option("--new-host", metavar="string", default="", help="replace hostname")
@click.option("--new-time", metavar="string", default="", help="replace time of the backup")
@click.option("-s", "--snapshot-summary", is_flag=True, help="create snapshot summary record if it does not exist")
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(session: Session, /, *, snapshot_ids: Sequence[str], **flags: Any) -> None:
    """Rewrite snapshots to exclude files or change metadata.

    Without a snapshot ID or a filter all snapshots are rewritten. The new ones get the tag `rewrite`, unless --forget
    removes those they were made from. The data that no snapshot needs any more is removed by `limpet prune`.
    """
    session.speak_text()
    options = _options(session.reporter, flags)
    if options.changes_nothing:
        raise UsageError("Nothing to do: no excludes/includes provided and no new metadata provided")
    if options.forget:
        session.reporter.note("create exclusive lock for repository")
    chosen = ChosenSnapshots(session)
    output = ReplacementOutput(
        session.reporter, dry_run=options.dry_run, forget=options.forget, metadata=options.metadata
    )
    with session.locked_repository(exclusive=options.forget, writes=True, no_lock=options.dry_run) as repository:
        found = chosen.choose(repository, snapshot_ids, snapshot_filter(flags["host"], flags["tag"], flags["path"]))
        repository.load_index(session.reporter)
        with SnapshotRewriter(repository, options) as rewriter:
            for stored in found:
                output.started(stored)
                output.done(stored, _rewrite(rewriter, stored))
    output.finish()
    chosen.finish()


def _rewrite(rewriter: SnapshotRewriter, stored: StoredSnapshot) -> Replacement:
    try:
        return rewriter.rewrite(stored)
    except LimpetError as error:
        raise error.saying(f'unable to rewrite snapshot ID "{short(stored.id)}": {error}') from error


def _options(reporter: Reporter, flags: Mapping[str, Any]) -> RewriteOptions:
    new_time = parse_time_option(flags["new_time"]) if flags["new_time"] else None
    return RewriteOptions(
        keep=_filter(reporter, flags),
        summary=flags["snapshot_summary"],
        metadata=NewMetadata(flags["new_host"], None if new_time is None else Time(new_time)),
        forget=flags["forget"],
        dry_run=flags["dry_run"],
    )


def _filter(reporter: Reporter, flags: Mapping[str, Any]) -> PathFilter | None:
    given = {word: PatternFlags.taken_from(flags, word) for word in ("exclude", "include")}
    if given["exclude"].are_given and given["include"].are_given:
        raise UsageError("exclude and include patterns are mutually exclusive")
    excluded, included = given["exclude"].compile(), given["include"].compile()

    def tell_excluded(path: bytes, _is_folder: bool) -> None:
        reporter.note(f"excluding {go_quoted(path)}", verbosity=3)

    def tell_included(path: bytes, is_folder: bool) -> None:
        reporter.note(f"including {'directory ' if is_folder else ''}{go_quoted(path)}", verbosity=3)

    if excluded:
        return Excluding(excluded, tell_excluded)
    return Including(included, tell_included) if included else None
