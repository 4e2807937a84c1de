"""`limpet snapshots`: the snapshots of a repository, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_output import group_heading, group_key_document, snapshot_document, snapshot_table
from limpet.errors import IntegrityError, LimpetError
from limpet.repository.snapshots import (
    GroupBy,
    SnapshotGroup,
    StoredSnapshot,
    group_snapshots,
    latest_of_each,
    select_snapshots,
)


@click.command("snapshots")
@snapshot_filter_options()
@click.option("-c", "--compact", is_flag=True, help="use compact output format")
@click.option("--last", is_flag=True, hidden=True)
@click.option(
    "--latest", type=int, default=0, metavar="n", help="only show the last n snapshots for each host and path"
)
@click.option(
    "-g",
    "--group-by",
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
    last: bool,
    latest: int,
    group_by: str,
) -> None:
    """List all snapshots stored in the repository."""
    by = GroupBy.parse(group_by)
    damaged: list[LimpetError] = []

    def pass_over(name: str, error: LimpetError) -> None:
        session.terminal.error(f'Ignoring "{name}": {error}')
        if isinstance(error, IntegrityError):
            damaged.append(error)

    with session.locked_repository() as repository:
        found = select_snapshots(repository, snapshot_ids, snapshot_filter(host, tag, path), pass_over)
    groups = group_snapshots(found, by)
    for group in groups:
        group.snapshots[:] = _shown(group, latest or int(last), grouped=bool(by))
    if session.json:
        _print_json(session, groups, grouped=bool(by))
    else:
        _print_tables(session, groups, compact=compact)
    if damaged:
        raise CommandExit(EXIT_FAILED, f"Fatal: {len(damaged)} snapshots are damaged; `limpet check` tells more")


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


def _print_tables(session: Session, groups: Sequence[SnapshotGroup], *, compact: bool) -> None:
    for group in groups:
        heading = group_heading(group)
        if heading:
            session.print(heading)
        session.print(snapshot_table(group.snapshots, compact=compact))
