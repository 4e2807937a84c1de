"""`limpet restore SNAPSHOT[:/PATH] --into SCHEME:PLACE`: files of a snapshot go back into what they came from."""

from __future__ import annotations

from contextlib import closing

from limpet import registry
from limpet.cli.formatting import format_bytes
from limpet.cli.places import own_places
from limpet.cli.session import Session
from limpet.cli.snapshot_output import snapshot_line
from limpet.errors import IntegrityError, RepositoryError
from limpet.operations.into import restore_into
from limpet.repository.repository import Repository
from limpet.repository.snapshots import SnapshotFilter, find_snapshot, tree_of


def run_restore_into(
    session: Session, repository: Repository, snapshot_id: str, chosen: SnapshotFilter, into: str
) -> None:
    """Restore the file at SNAPSHOT:/PATH, or what the source of the place's scheme has in the snapshot."""
    shown = registry.redact(into)
    destination = registry.open_destination(
        into, session.options.extended(), reporter=session.reporter, own_places=own_places(session.options)
    )
    with closing(destination):
        try:
            stored, path = find_snapshot(repository, snapshot_id, chosen)
        except (RepositoryError, IntegrityError) as error:
            raise RepositoryError(f"failed to find snapshot: {error}") from error
        repository.load_index(session.reporter)
        session.say(f"restoring {snapshot_line(stored)} into {shown}")
        result = restore_into(
            repository,
            tree_of(repository, stored),
            [path] if path else registry.source_folders(into),
            destination,
            receiving=lambda file: session.reporter.note(f"restoring {file.path}", verbosity=2),
        )
    if session.json:
        figures = {"total_files": result.files, "total_bytes": result.size_bytes}
        session.print_json({"message_type": "summary", "into": shown, **figures})
    else:
        session.print(f"Summary: Restored {result.files} files ({format_bytes(result.size_bytes)}) into {shown}")
