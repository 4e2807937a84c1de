"""Two machines that back up to one repository while a third prunes it, over each kind of server."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.resilience.stores import ALL_STORES, Store
from tests.safety.files import digests, write_tree
from tests.safety.judging import assert_restores
from tests.safety.program import PASSWORD, Running, Site

ROUNDS = {"rest": 2, "s3": 1, "sftp": 1}
"""Most of a round is waiting for locks."""
PATIENT = ("--retry-lock", "2m")


class Machine:
    """One of several, with a cache of its own."""

    def __init__(self, name: str, folder: Path, store: Store) -> None:
        self.name = name
        self._store = store
        self.source = folder / "source"
        self.source.mkdir(parents=True)
        self.site = Site(folder)
        self.site.repository = store.files
        self.site.variables = {**store.environment, "LIMPET_REPOSITORY": store.location(store.port)}

    def start(self, *arguments: str | Path) -> Running:
        """The running command."""
        return self.site.start(*self._store.flags, *PATIENT, *arguments)

    def backup(self) -> Running:
        """The running backup of this machine's source."""
        return self.start("--pack-size", "4", "backup", "--host", self.name, self.source)


@pytest.mark.parametrize("name", ALL_STORES)
def test_two_back_up_while_a_third_prunes(name: str, tmp_path: Path, closing: ExitStack, restic_new: Restic) -> None:
    """Nothing of a snapshot may be pruned away because its backup was under way, and nobody's backup be refused."""
    store = ALL_STORES[name](tmp_path / "server")
    closing.callback(store.close)
    store.create()
    machines = [Machine(machine, tmp_path / machine, store) for machine in ("one", "two", "pruner")]
    for machine in machines:
        closing.callback(machine.site.close)
    one, two, pruner = machines
    saved = {}
    for number in range(ROUNDS[name]):
        # Both have files that were in a snapshot that is gone: what prune is about to remove is wanted again.
        for seed, machine in enumerate((one, two)):
            write_tree(machine.source, seed=10 * number + seed, small=100, large_mib=4)
            write_tree(machine.source / "both", seed=10 * number + 7, small=50, large_mib=4)
        write_tree(pruner.source, seed=10 * number + 7, small=50, large_mib=4)
        _end(pruner.backup())
        (mine,) = restic_new.json("--no-lock", "snapshots", "--host", pruner.name, repo=store.files, password=PASSWORD)
        _end(pruner.start("forget", mine["id"]))
        running = [one.backup(), two.backup(), pruner.start("prune", "--max-unused", "0")]
        for command in running:
            _end(command)
        for machine in (one, two):
            found = restic_new.json(
                "--no-lock", "snapshots", "--host", machine.name, repo=store.files, password=PASSWORD
            )
            snapshots = found if isinstance(found, list) else [found]
            assert len(snapshots) == number + 1
            saved[snapshots[-1]["id"]] = (machine, digests(machine.source))
    done = restic_new.run("check", "--read-data", repo=store.files, password=PASSWORD)
    assert b"no errors were found" in done.stdout
    assert len(saved) == 2 * ROUNDS[name]
    for snapshot, (machine, content) in saved.items():
        assert_restores(machine.site, restic_new, snapshot, content, machine.source)


def _end(running: Running) -> None:
    ended = running.end()
    assert ended.code == 0, ended.err
