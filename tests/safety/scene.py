"""A repository with one snapshot, and a source that has changed since."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from limpet.testing.restic import Restic

from tests.safety.files import Digests
from tests.safety.judging import assert_clean, assert_next_backup_works, assert_restores, snapshot_ids
from tests.safety.program import PASSWORD, Site

_SOME_DATA = "head -c 200000 /dev/urandom"


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault is about to happen. `before` is what the first snapshot holds."""

    site: Site
    source: Path
    before: Digests

    @property
    def held(self) -> tuple[Path, str]:
        """What a backup saves that must not be over before its fault: the source; then, by its name, endless data."""
        return self.source, f"command:zz=sh -c 'until test -e {self._end}; do {_SOME_DATA}; sleep 0.1; done'"

    @property
    def _end(self) -> Path:
        return self.site.folder / "end"

    def release(self) -> None:
        """Let the data end, and so the backup."""
        self._end.touch()

    def copied(self, folder: Path) -> Scene:
        """The same with a repository of its own in the folder."""
        shutil.copytree(self.site.repository, folder / "repository")
        return Scene(Site(folder), self.source, self.before)

    def judge(self, restic: Restic, *, snapshots: int | None = 1) -> None:
        """All that must hold after a backup of the source that failed: see `judging`. No lock may be there."""
        assert not self.site.files("locks")
        assert_clean(self.site, restic)
        found = snapshot_ids(self.site, restic)
        assert snapshots is None or len(found) == snapshots
        assert_restores(self.site, restic, found[0], self.before, self.source)
        assert_next_backup_works(self.site, restic, self.source)

    def remove_dead_lock(self, restic: Restic, *, by_restic: bool) -> None:
        """Have the lock of a dead process on this host removed as stale, by restic or by ourselves."""
        if by_restic:
            restic.run("unlock", repo=self.site.repository, password=PASSWORD)
        else:
            self.site.run("unlock")
        assert not self.site.files("locks"), "the lock of a dead process was not recognised as stale"
