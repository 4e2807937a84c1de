"""`limpet tag`: sets, adds and removes tags of snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.parameters import TAG_LIST
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_changes import SnapshotChanges
from limpet.errors import BackendError, UsageError
from limpet.operations.annotate import TagChange, change_tags

TagLists = Sequence[Sequence[str]]
_FORMAT = "in the format `tag[,tag,...]` (can be given multiple times)"


@click.command("tag")
@click.option(
    "--set",
    "set_tags",
    multiple=True,
    type=TAG_LIST,
    metavar="tags",
    help=f"tags which will replace the existing tags {_FORMAT}",
)
@click.option(
    "--add",
    "add_tags",
    multiple=True,
    type=TAG_LIST,
    metavar="tags",
    help=f"tags which will be added to the existing tags {_FORMAT}",
)
@click.option(
    "--remove",
    "remove_tags",
    multiple=True,
    type=TAG_LIST,
    metavar="tags",
    help=f"tags which will be removed from the existing tags {_FORMAT}",
)
@snapshot_filter_options()
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(
    session: Session,
    *,
    snapshot_ids: Sequence[str],
    set_tags: TagLists,
    add_tags: TagLists,
    remove_tags: TagLists,
    host: Sequence[str],
    tag: TagLists,
    path: Sequence[str],
) -> None:
    """Modify tags on snapshots.

    Either replaces all tags of a snapshot (--set), or adds tags to it and removes tags from it. Without a snapshot ID
    all snapshots are modified that match the host, tag and path filters.
    """
    if not (set_tags or add_tags or remove_tags):
        raise UsageError("nothing to do!")
    if set_tags and (add_tags or remove_tags):
        raise UsageError("--set and --add/--remove cannot be given at the same time")
    change = TagChange(_flat(set_tags), _flat(add_tags), _flat(remove_tags))
    changes = SnapshotChanges(session)
    session.reporter.note("create exclusive lock for repository")
    chosen = ChosenSnapshots(session)
    with session.locked_repository(exclusive=True) as repository:
        for stored in chosen.choose(repository, snapshot_ids, snapshot_filter(host, tag, path)):
            try:
                changed = change_tags(repository, stored, change)
            except BackendError as error:
                session.terminal.error(
                    f'unable to modify the tags for snapshot ID "{stored.id.hex()}", ignoring: {error}'
                )
                continue
            if changed is not None:
                changes.changed(stored, changed)
    changes.finish()
    chosen.finish()


def _flat(lists: TagLists) -> list[str]:
    return [tag for tags in lists for tag in tags if tag]
