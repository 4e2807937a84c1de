"""What must hold after any fault: restic finds the repository clean, old snapshots restore, the next backup works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from limpet.testing.restic import Restic

from tests.safety.files import Digests, digests
from tests.safety.program import PASSWORD, Ended, Site


def assert_clean(site: Site, restic: Restic) -> None:
    """Real restic reads every byte and finds nothing wrong; no lock may be there."""
    done = restic.run("check", "--read-data", repo=site.repository, password=PASSWORD)
    assert b"no errors were found" in done.stdout


def assert_restores(site: Site, restic: Restic, snapshot: str, saved: Digests, source: Path) -> None:
    """Real restic restores the snapshot of `source` as it was."""
    target = site.folder / "restored"
    restic.run("restore", f"{snapshot}:{source}", "--target", target, repo=site.repository, password=PASSWORD)
    assert digests(target) == saved
    shutil.rmtree(target)


def assert_next_backup_works(site: Site, restic: Restic, source: Path) -> Ended:
    """Limpet backs up again; what it saved is what is there, and the repository is clean."""
    ended = site.run("backup", source)
    assert_restores(site, restic, "latest", digests(source), source)
    assert_clean(site, restic)
    assert not site.files("locks")
    return ended


def snapshot_ids(site: Site, restic: Restic) -> list[str]:
    """Ids of all snapshots, the oldest first."""
    done = restic.run("snapshots", "--json", repo=site.repository, password=PASSWORD)
    return [snapshot["id"] for snapshot in json.loads(done.stdout)]
