"""`limpet copy`: snapshots from one repository into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.formatting import format_bytes
from limpet.cli.secondary import secondary_options, take_secondary
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_output import snapshot_line
from limpet.ids import short
from limpet.operations.copy import CopiedBefore, CopiedSnapshot, copy_snapshots
from limpet.progress import Reporter
from limpet.repository.snapshots import StoredSnapshot


@click.command("copy")
@secondary_options("to copy snapshots from")
@snapshot_filter_options()
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(
    session: Session,
    /,
    *,
    snapshot_ids: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    **secondary: Any,
) -> None:
    """Copy snapshots from one repository to another.

    Files are not cut into chunks anew. A repository that was made with `init --copy-chunker-params` stores nothing
    twice; any other may hold what was copied and what was backed up into it both.
    """
    session.speak_text()
    chosen_by = snapshot_filter(host, tag, path)
    named = take_secondary(secondary)
    source = named.open(session)
    destination = session.repository()
    if named.is_legacy:  # --repo2 named the target
        source, destination = destination, source
    with (
        source.lock(retry_lock_s=session.retry_lock_s, no_lock=session.no_lock),
        destination.lock(retry_lock_s=session.retry_lock_s),
    ):
        chosen = ChosenSnapshots(session)
        copied_before = CopiedBefore(chosen.choose(destination, snapshot_filter=chosen_by))
        wanted = chosen.choose(source, snapshot_ids, chosen_by)
        source.load_index(session.reporter)
        destination.load_index(session.reporter)
        new = _without_copied(wanted, copied_before, session.reporter)
        copy_snapshots(source, destination, new, session.reporter, _Output(session.reporter))
    chosen.finish()


def _without_copied(
    wanted: Sequence[StoredSnapshot], before: CopiedBefore, reporter: Reporter
) -> Iterator[StoredSnapshot]:
    for stored in wanted:
        copied = before.find(stored)
        if copied is None:
            yield stored
        else:
            reporter.note(f"\n{snapshot_line(stored)}", verbosity=2)
            reporter.note(
                f"skipping source snapshot {short(stored.id)}, was already copied to snapshot {short(copied.id)}",
                verbosity=2,
            )


class _Output:
    """Tells how the copy goes on, in restic's words."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def started(self, source: StoredSnapshot) -> None:
        """Name the snapshot."""
        self._reporter.note(f"\n{snapshot_line(source)}")
        self._reporter.note("  copy started, this may take a while...")

    def planned(self, blobs: int, stored_bytes: int, packs: int) -> None:
        """With -v: how much there is to do."""
        size = format_bytes(stored_bytes)
        self._reporter.note(f"  copy {blobs} blobs with disk size {size} in {packs} packfiles", verbosity=2)

    def saving(self, count: int) -> None:
        """Set the lines of several snapshots apart."""
        if count > 1:
            self._reporter.note("")

    def saved(self, copied: CopiedSnapshot) -> None:
        """Name both."""
        self._reporter.note(
            f"snapshot {short(copied.new_id)} saved, copied from source snapshot {short(copied.source.id)}"
        )
