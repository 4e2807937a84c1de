"""`limpet repair snapshots`: snapshots without what can no longer be read."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.replacement_output import ReplacementOutput
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.errors import LimpetError
from limpet.ids import short
from limpet.operations.repair.snapshots import SnapshotRepairer
from limpet.operations.rewrite import Replacement
from limpet.repository.snapshots import StoredSnapshot


@click.command("snapshots")
@snapshot_filter_options()
@click.option("-n", "--dry-run", is_flag=True, help="do not do anything, just print what would be done")
@click.option("--forget", is_flag=True, help="remove original snapshots after creating new ones")
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def repair_snapshots(
    session: Session,
    /,
    *,
    snapshot_ids: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    dry_run: bool,
    forget: bool,
) -> None:
    """Make new snapshots from broken ones, without folders and file contents that are lost.

    Run `limpet repair index` first: only what an index names counts as there. And try a backup before: where the files
    still exist, it stores anew what is missing, and nothing has to be given up. The new snapshots get the tag
    `repaired`, unless --forget removes those they were made from. A snapshot whose root folder is lost is removed.
    """
    session.speak_text()
    chosen = ChosenSnapshots(session)
    output = ReplacementOutput(session.reporter, dry_run=dry_run, forget=forget)
    with session.locked_repository(exclusive=True, no_lock=dry_run) as repository:
        found = chosen.choose(repository, snapshot_ids, snapshot_filter(host, tag, path))
        repository.load_index(session.reporter)
        with SnapshotRepairer(repository, dry_run=dry_run, forget=forget, reporter=session.reporter) as repairer:
            for stored in found:
                output.started(stored)
                output.done(stored, _repair(repairer, stored))
    output.finish()
    chosen.finish()


def _repair(repairer: SnapshotRepairer, stored: StoredSnapshot) -> Replacement:
    try:
        return repairer.repair(stored)
    except LimpetError as error:
        raise error.saying(f'unable to rewrite snapshot ID "{short(stored.id)}": {error}') from error
