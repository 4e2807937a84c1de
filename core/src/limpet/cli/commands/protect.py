"""`limpet protect`: keeps snapshots from being removed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from limpet.cli.parameters import SPAN
from limpet.cli.protection import protection_from
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_changes import SnapshotChanges
from limpet.operations.annotate import protect
from limpet.operations.retention import Span
from limpet.repository.snapshots import select_snapshots


@click.command("protect")
@click.option("--for", "span", type=SPAN, metavar="duration", help="only for so long from now on (ex. 1y6m)")
@click.option("--until", metavar="time", help="only until then (ex. '2027-11-01' or '2027-11-01 22:08:41')")
@snapshot_filter_options()
@click.argument("snapshot_ids", nargs=-1, required=True, metavar="SNAPSHOTID...")
@pass_session
def command(
    session: Session,
    *,
    snapshot_ids: Sequence[str],
    span: Span | None,
    until: str | None,
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
) -> None:
    """Keep snapshots from being removed by `limpet forget`, for ever or for a time; `limpet unprotect` ends it.

    Protection is stored where rustic stores it, and rustic respects it. restic knows nothing of it.
    """
    wanted = protection_from(time.time_ns(), always=span is None and until is None, span=span, until=until)
    changes = SnapshotChanges(session)
    with session.locked_repository(exclusive=True) as repository:
        for stored in select_snapshots(repository, snapshot_ids, snapshot_filter(host, tag, path)):
            changed = protect(repository, stored, wanted)
            if changed is not None:
                changes.changed(stored, changed)
    changes.finish()
