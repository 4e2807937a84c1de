"""Limits, with a real restic: a quota that is hit in the middle of a backup, a retention lock against prune, rates."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.serve.wire import ask
from tests.services.rest_server import LimpetServer
from tests.services.waiting import wait_for

PASSWORD = "of the repository"
MIB = 1 << 20
DAY_S = 86_400

pytestmark = pytest.mark.interop


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[tuple[LimpetServer, str]]:
    """A server with these limits, and the location of a repository on it."""
    server = LimpetServer(folder, *flags)
    try:
        yield server, f"rest:{server.url('repository')}"
    finally:
        server.close()


def write_random(folder: Path, name: str, size_bytes: int) -> None:
    """A file that nothing deduplicates or compresses."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(os.urandom(size_bytes))


def test_a_quota_hit_in_mid_backup_and_room_again(restic_new: Restic, tmp_path: Path) -> None:
    """The backup ends with the reason, nothing half is left, forgetting makes room, and the next backup goes on."""
    folder = tmp_path / "folder"
    write_random(folder, "first", 2 * MIB)
    with serving(tmp_path / "server", "--repo-quota", "5M") as (server, location):
        restic_new.run("init", repo=location, password=PASSWORD)
        restic_new.run("backup", folder, repo=location, password=PASSWORD)
        write_random(folder, "second", 4 * MIB)
        failed = restic_new.run("backup", folder, repo=location, password=PASSWORD, check=False)
        assert failed.returncode != 0
        assert b"507" in failed.stderr
        assert b"the repository's quota of 5242880 bytes" in failed.stderr
        assert stored_bytes(server) <= 5 * MIB
        assert list((server.data / "repository" / ".uploads").iterdir()) == []
        (folder / "first").unlink()
        restic_new.run("forget", "latest", "--prune", repo=location, password=PASSWORD)
        restic_new.run("backup", folder, repo=location, password=PASSWORD)
        restic_new.run("check", "--read-data", repo=location, password=PASSWORD)


def stored_bytes(server: LimpetServer) -> int:
    """Of all files."""
    return sum(path.stat().st_size for path in (server.data / "repository").rglob("*") if path.is_file())


def test_a_retention_lock_stands_against_prune(restic_new: Restic, tmp_path: Path) -> None:
    """Who has stolen all passwords of a machine removes nothing that is young, and what is old comes back by a copy."""
    folder = tmp_path / "folder"
    write_random(folder, "file", MIB)
    with serving(tmp_path / "server", "--retention-days", "7") as (server, location):
        restic_new.run("init", repo=location, password=PASSWORD)
        restic_new.run("backup", folder, repo=location, password=PASSWORD)
        before = files(server.data / "repository")
        refused = restic_new.run("forget", "latest", "--prune", repo=location, password=PASSWORD, check=False)
        assert refused.returncode != 0
        assert b"it is locked for 7 days and cannot be removed before 2" in refused.stderr
        assert files(server.data / "repository") == before
        # Only the snapshot is old enough: its data stays, and the repository is as whole as before.
        (snapshot,) = (server.data / "repository" / "snapshots").iterdir()
        long_ago(snapshot)
        partly = restic_new.run("forget", "latest", "--prune", repo=location, password=PASSWORD, check=False)
        assert b"locked for 7 days" in partly.stderr
        assert packs(before) <= packs(files(server.data / "repository"))
        restic_new.run("check", "--read-data", repo=location, password=PASSWORD)
        for path in (server.data / "repository").rglob("*"):
            long_ago(path)
        restic_new.run("prune", repo=location, password=PASSWORD)
        assert not packs(files(server.data / "repository"))
        copy_back(server.data / "repository")
        restic_new.run("restore", "latest", "--target", tmp_path / "restored", repo=location, password=PASSWORD)
        back = tmp_path / "restored" / folder.relative_to("/") / "file"
        assert back.read_bytes() == (folder / "file").read_bytes()
        keys = list((server.data / "repository" / "keys").iterdir())
        restic_new.run(
            "key", "passwd", "--new-password-file", os.devnull, repo=location, password=PASSWORD, check=False
        )
        assert set(keys) <= set((server.data / "repository" / "keys").iterdir())


def files(root: Path) -> set[str]:
    """What a repository consists of, but for its locks."""
    paths = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return {path for path in paths if not path.startswith(("locks", ".removed"))}


def packs(paths: set[str]) -> set[str]:
    """The packs among them."""
    return {path for path in paths if path.startswith("data")}


def long_ago(path: Path) -> None:
    """As if the server had stored it eight days ago."""
    moment_s = time.time() - 8 * DAY_S
    os.utime(path, (moment_s, moment_s))


def copy_back(repository: Path) -> None:
    """What the documentation tells an administrator to do."""
    assert os.system(f"cp -an {repository}/.removed/*/. {repository}/") == 0


def test_a_backup_gets_through_a_limit_of_requests(restic_any: Restic, tmp_path: Path) -> None:
    """Clients that are told to wait do so, and their backup ends well."""
    folder = tmp_path / "folder"
    write_random(folder, "file", MIB)
    log = tmp_path / "access.log"
    limits = ("--client-request-limit", "5", "--client-upload-limit", "2M", "--log", str(log))
    with serving(tmp_path / "server", *limits) as (server, location):
        restic_any.run("init", repo=location, password=PASSWORD)

        def is_told() -> bool:
            """Take every request that the address may make, until restic is told to wait."""
            assert ask(server, "HEAD", "/repository/config").status in {200, 429}
            return re.search(r'" 429 .*Go-http-client', log.read_text()) is not None

        with restic_any.start("backup", folder, repo=location, password=PASSWORD) as running:
            wait_for(is_told, "a restic that is told to wait")
            said = running.communicate()[1]
            assert running.returncode == 0, said
