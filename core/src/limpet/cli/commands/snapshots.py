"""`limpet snapshots`: the snapshots of a repository, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.parameters import GROUP_BY
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_output import (
    group_heading,
    group_key_document,
    snapshot_document,
    snapshot_table,
    sorted_lists,
)
from limpet.repository.snapshots import (
    GroupBy,
    SnapshotGroup,
    StoredSnapshot,
    group_snapshots,
    latest_of_each,
)


@click.command("snapshots")
@snapshot_filter_options()
@click.option("-c", "--compact", is_flag=True, help="use compact output format")
@click.option("--long", "is_long", is_flag=True, help="also show files, what each added, protection and description")
@click.option("--last", is_flag=True, hidden=True)
@click.option(
    "--latest", type=int, default=0, metavar="n", help="only show the last n snapshots for each host and path"
)
@click.option(
    "-g",
    "--group-by",
    type=GROUP_BY,
    default="",
    metavar="group",
    help="group snapshots by host, paths and/or tags, separated by comma",
)
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(
    session: Session,
    *,
    snapshot_ids: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    compact: bool,
    is_long: bool,
    last: bool,
    latest: int,
    group_by: GroupBy,
) -> None:
    """List all snapshots stored in the repository."""
    if last:
        session.reporter.warning("Flag --last has been deprecated, use --latest 1")
    chosen = ChosenSnapshots(session)
    with session.locked_repository() as repository:
        found = chosen.choose(repository, snapshot_ids, snapshot_filter(host, tag, path))
    groups = group_snapshots([sorted_lists(stored, group_by) for stored in found], group_by)
    for group in groups:
        group.snapshots[:] = _shown(group, latest or int(last), grouped=bool(group_by))
    if session.json:
        _print_json(session, groups, grouped=bool(group_by))
    else:
        _print_tables(session, groups, compact=compact, is_long=is_long)
    chosen.finish()


def _shown(group: SnapshotGroup, latest: int, *, grouped: bool) -> list[StoredSnapshot]:
    newest_first = sorted(group.snapshots, key=lambda stored: stored.time_ns, reverse=True)
    if latest > 0:
        newest_first = newest_first[:latest] if grouped else latest_of_each(newest_first, latest)
    return newest_first[::-1]


def _print_json(session: Session, groups: Sequence[SnapshotGroup], *, grouped: bool) -> None:
    if grouped:
        session.print_json(
            [
                {
                    "group_key": group_key_document(group),
                    "snapshots": [snapshot_document(stored) for stored in group.snapshots],
                }
                for group in groups
            ]
        )
    else:
        session.print_json([snapshot_document(stored) for group in groups for stored in group.snapshots])


def _print_tables(session: Session, groups: Sequence[SnapshotGroup], *, compact: bool, is_long: bool) -> None:
    for group in groups:
        heading = group_heading(group)
        if heading:
            session.print(heading)
        session.print(snapshot_table(group.snapshots, compact=compact, is_long=is_long))
