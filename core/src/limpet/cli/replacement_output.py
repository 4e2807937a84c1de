"""What `rewrite` and `repair snapshots` tell of the snapshots they have made anew, in restic's words."""

from __future__ import annotations

from limpet.cli.snapshot_output import go_time, snapshot_line
from limpet.ids import short
from limpet.operations.rewrite import NewMetadata, Outcome, Replacement
from limpet.operations.rewrite.replace import SAME_METADATA
from limpet.progress import Reporter
from limpet.repository.snapshots import StoredSnapshot


class ReplacementOutput:
    """Tells of one snapshot after the other, and counts."""

    def __init__(
        self, reporter: Reporter, *, dry_run: bool, forget: bool, metadata: NewMetadata = SAME_METADATA
    ) -> None:
        self._note = reporter.note
        self._dry_run = dry_run
        self._forget = forget
        self._metadata = metadata
        self._changed = 0

    def started(self, stored: StoredSnapshot) -> None:
        """The snapshot is about to be looked through."""
        self._note(f"\n{snapshot_line(stored)}")

    def done(self, stored: StoredSnapshot, replacement: Replacement) -> None:
        """What became of it."""
        if replacement.outcome is Outcome.UNCHANGED:
            return
        self._changed += 1
        if replacement.outcome is Outcome.EMPTIED:
            self._note("would delete empty snapshot" if self._dry_run else f"removed empty snapshot {short(stored.id)}")
        elif replacement.new is None:
            self._would_replace()
        else:
            self._replaced(stored, replacement.new)

    def finish(self) -> None:
        """How many there were."""
        self._note("")
        if self._changed:
            self._note(f"{'would modify' if self._dry_run else 'modified'} {self._changed} snapshots")
        else:
            self._note(f"no snapshots {'would be' if self._dry_run else 'were'} modified")

    def _would_replace(self) -> None:
        self._note("would save new snapshot")
        if self._forget:
            self._note("would remove old snapshot")
        if self._metadata.time is not None:
            self._note(f"would set time to {go_time(*self._metadata.time)}")
        if self._metadata.hostname:
            self._note(f"would set hostname to {self._metadata.hostname}")

    def _replaced(self, stored: StoredSnapshot, new: StoredSnapshot) -> None:
        if self._metadata.time is not None:
            self._note(f"setting time to {go_time(*self._metadata.time)}")
        if self._metadata.hostname:
            self._note(f"setting host to {self._metadata.hostname}")
        self._note(f"saved new snapshot {short(new.id)}")
        if self._forget:
            self._note(f"removed old snapshot {short(stored.id)}")
