"""Tells which snapshots were changed into which, as restic's `tag` does: in lines, or in documents for a program."""

from __future__ import annotations

from limpet.cli.session import Session
from limpet.repository.snapshots import StoredSnapshot


class SnapshotChanges:
    """Told of each change; says at last how many there were."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._count = 0

    def changed(self, old: StoredSnapshot, new: StoredSnapshot) -> None:
        """One snapshot was stored anew."""
        self._count += 1
        if self._session.json:
            self._session.print_json(
                {"message_type": "changed", "old_snapshot_id": old.id.hex(), "new_snapshot_id": new.id.hex()}
            )
        else:
            text = f"old snapshot ID: {old.id.hex()} -> new snapshot ID: {new.id.hex()}"
            self._session.reporter.note(text, verbosity=2)

    def finish(self) -> None:
        """That was all."""
        if self._session.json:
            self._session.print_json({"message_type": "summary", "changed_snapshots": self._count})
        elif self._count:
            self._session.say(f"modified {self._count} snapshots")
        else:
            self._session.say("no snapshots were modified")
