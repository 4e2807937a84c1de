"""The snapshots that a command was asked to work on; what cannot be read is told and left out, as in restic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.session import Session
from limpet.errors import IntegrityError, LimpetError
from limpet.repository.snapshots import NO_FILTER, SnapshotFilter, StoredSnapshot, select_snapshots

if TYPE_CHECKING:
    from limpet.repository.repository import Repository


class ChosenSnapshots:
    """Chooses snapshots and remembers what was damaged."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._damaged = 0

    def choose(
        self, repository: Repository, names: Sequence[str] = (), snapshot_filter: SnapshotFilter = NO_FILTER
    ) -> list[StoredSnapshot]:
        """Those that are named, or that pass the filter."""
        return select_snapshots(repository, names, snapshot_filter, self._pass_over)

    def finish(self) -> None:
        """CommandExit if a snapshot was damaged: a script has to learn that it was left out."""
        if self._damaged:
            raise CommandExit(EXIT_FAILED, f"Fatal: {self._damaged} snapshots are damaged; `limpet check` tells more")

    def _pass_over(self, name: str, error: LimpetError) -> None:
        self._session.terminal.error(f'Ignoring "{name}": {error}')
        self._damaged += isinstance(error, IntegrityError)
