"""`limpet unprotect`: lets snapshots be removed again."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_changes import SnapshotChanges
from limpet.operations.annotate import protect
from limpet.repository.snapshots import select_snapshots


@click.command("unprotect")
@snapshot_filter_options()
@click.argument("snapshot_ids", nargs=-1, required=True, metavar="SNAPSHOTID...")
@pass_session
def command(
    session: Session,
    *,
    snapshot_ids: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
) -> None:
    """Let `limpet forget` remove the snapshots again, which `limpet protect` has kept from it."""
    changes = SnapshotChanges(session)
    with session.locked_repository(exclusive=True) as repository:
        for stored in select_snapshots(repository, snapshot_ids, snapshot_filter(host, tag, path)):
            changed = protect(repository, stored, None)
            if changed is not None:
                changes.changed(stored, changed)
    changes.finish()
