"""`limpet describe`: says what a snapshot is."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_changes import SnapshotChanges
from limpet.errors import UsageError
from limpet.operations.annotate import describe
from limpet.repository.snapshots import find_snapshot


@click.command("describe")
@snapshot_filter_options(single=True)
@click.argument("snapshot_id", metavar="SNAPSHOTID")
@click.argument("text")
@pass_session
def command(
    session: Session,
    *,
    snapshot_id: str,
    text: str,
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
) -> None:
    """Say in a few words what a snapshot is; an empty text takes the description away.

    `limpet snapshots --long` shows it. It is stored where rustic stores it; restic reads such a snapshot, but leaves
    the description out when it stores the snapshot anew (tag, rewrite, copy).
    """
    changes = SnapshotChanges(session)
    with session.locked_repository(exclusive=True) as repository:
        stored, subfolder = find_snapshot(repository, snapshot_id, snapshot_filter(host, tag, path))
        if subfolder:
            raise UsageError("<snapshot>:<subfolder> syntax not allowed")
        changed = describe(repository, stored, text)
        if changed is not None:
            changes.changed(stored, changed)
    changes.finish()
