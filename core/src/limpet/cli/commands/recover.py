"""`limpet recover`: a snapshot of everything that no snapshot refers to any more."""

from __future__ import annotations

import click

import limpet
from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.session import Session, pass_session
from limpet.ids import short
from limpet.operations.origin import Origin
from limpet.operations.recover import find_roots, save_roots


@click.command("recover")
@pass_session
def command(session: Session) -> None:
    """Build a new snapshot from all folders that no existing snapshot refers to.

    For snapshots that were removed by mistake, as long as `prune` has not been run since. The new snapshot has one
    folder for each root that is found, and the tag `recovered`.
    """
    session.speak_text()
    reporter = session.reporter
    chosen = ChosenSnapshots(session)
    with session.locked_repository(exclusive=True) as repository:
        snapshots = chosen.choose(repository)
        roots = find_roots(repository, snapshots, reporter)
        for root in roots:
            reporter.note(f"found root tree {short(root)}", verbosity=2)
        session.print(f"\nfound {len(roots)} unreferenced roots")
        if roots:
            stored = save_roots(repository, roots, Origin.here(f"limpet {limpet.__version__}"))
            session.print(f"saved new snapshot {short(stored.id)}")
        else:
            reporter.note("no snapshot to write.")
    chosen.finish()
