"""Copies between repositories of both programs, judged by restic: everything there, nothing twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import limpet
import pytest
from limpet import registry
from limpet.format.kdf import KdfParameters
from limpet.repository.repository import Repository, RepositorySettings
from limpet.storage.memory import MemoryBackend
from limpet.testing.restic import Restic

pytestmark = pytest.mark.interop

PASSWORD = "copied"
CHEAP = KdfParameters(n=16, r=8, p=1, salt=bytes(64))
MIB = 1024 * 1024


def create(path: Path, version: int = 2, polynomial: int | None = None) -> Repository:
    """A new repository that opens at once."""
    backend = registry.open_backend(str(path))
    settings = RepositorySettings(pack_size_bytes=4 * MIB)
    return Repository.create(backend, PASSWORD, version=version, polynomial=polynomial, kdf=CHEAP, settings=settings)


def opened(path: Path) -> Repository:
    """The repository as it is now."""
    return limpet.open_repository(str(path), PASSWORD)


def contents(restic: Restic, repository: Path, snapshot: str, target: Path) -> dict[str, bytes]:
    """What restic restores."""
    restic.run("restore", snapshot, "--target", target, repo=repository, password=PASSWORD)
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def snapshots(restic: Restic, repository: Path) -> list[dict[str, Any]]:
    """As restic tells, oldest first."""
    found = json.loads(restic.run("snapshots", "--json", repo=repository, password=PASSWORD).stdout)
    return sorted(found, key=lambda one: one["time"])


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every size that matters, some compressible."""
    work = tmp_path_factory.mktemp("copy") / "work"
    (work / "sub").mkdir(parents=True)
    (work / "large").write_bytes(os.urandom(9 * MIB))
    (work / "text").write_text("all work and no play\n" * 60_000)
    (work / "empty").touch()
    for number in range(20):
        (work / "sub" / str(number)).write_bytes(os.urandom(100 * number))
    return work


@pytest.mark.parametrize(("from_version", "to_version"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_restic_restores_what_was_copied(
    restic_any: Restic, work: Path, tmp_path: Path, from_version: int, to_version: int
) -> None:
    """A copy that only we can read is no second copy."""
    first, second = tmp_path / "first", tmp_path / "second"
    create(first, from_version).close()
    for excluded in ("text", "nothing"):
        restic_any.run("backup", "--exclude", excluded, "work", repo=first, password=PASSWORD, cwd=work.parent)
    with opened(first) as source, create(second, to_version) as destination:
        copied = limpet.copy(source, destination)
    restic_any.run("check", "--read-data", repo=second, password=PASSWORD)
    before, after = snapshots(restic_any, first), snapshots(restic_any, second)
    assert [one["id"] for one in after] == [one.new_id.hex() for one in copied]
    for old, new in zip(before, after, strict=True):
        assert new.pop("original") == old["id"]
        for one in (old, new):
            for key in ("id", "short_id", "parent"):
                one.pop(key, None)
        assert new == old
    theirs = contents(restic_any, first, "latest", tmp_path / "a")
    assert contents(restic_any, second, "latest", tmp_path / "b") == theirs
    assert len(theirs) == 23


def test_both_programs_know_what_the_other_has_copied(restic_new: Restic, work: Path, tmp_path: Path) -> None:
    """Whoever changes the program would otherwise copy every snapshot once more."""
    first, by_limpet, by_restic = tmp_path / "first", tmp_path / "limpet", tmp_path / "restic"
    create(first).close()
    restic_new.run("backup", "work", repo=first, password=PASSWORD, cwd=work.parent)
    password = tmp_path / "password"
    password.write_text(PASSWORD)

    def copy_by_restic(path: Path) -> None:
        source = ("--from-repo", first, "--from-password-file", password)
        restic_new.run("copy", *source, repo=path, password=PASSWORD)

    with opened(first) as source, create(by_limpet) as destination:
        assert len(limpet.copy(source, destination)) == 1
    copy_by_restic(by_limpet)
    create(by_restic).close()
    copy_by_restic(by_restic)
    with opened(first) as source, opened(by_restic) as destination:
        assert limpet.copy(source, destination) == []
    assert len(snapshots(restic_new, by_limpet)) == len(snapshots(restic_new, by_restic)) == 1


def test_the_same_chunks_are_stored_once(restic_new: Restic, work: Path, tmp_path: Path) -> None:
    """With the source's chunker parameters a backup after a copy finds all its data there."""
    first, second = tmp_path / "first", tmp_path / "second"
    with create(first) as source:
        restic_new.run("backup", "work", repo=first, password=PASSWORD, cwd=work.parent)
        with create(second, polynomial=source.config.chunker_polynomial) as destination:
            limpet.copy(source, destination)
    done = restic_new.json("backup", "--force", "work", repo=second, password=PASSWORD, cwd=work.parent)
    summary = done[-1] if isinstance(done, list) else done  # a quick backup tells nothing before
    assert summary["data_blobs"] == 0


def test_between_two_kinds_of_storage(restic_new: Restic, work: Path, tmp_path: Path) -> None:
    """Any storage to any other, and back again unchanged."""
    first, third = tmp_path / "first", tmp_path / "third"
    create(first).close()
    restic_new.run("backup", "work", repo=first, password=PASSWORD, cwd=work.parent)
    second = Repository.create(MemoryBackend(), PASSWORD, kdf=CHEAP)
    with opened(first) as source, create(third) as last:
        limpet.copy(source, second)
        limpet.copy(second, last)
    restic_new.run("check", "--read-data", repo=third, password=PASSWORD)
    (old,), (new,) = snapshots(restic_new, first), snapshots(restic_new, third)
    assert (new["tree"], new["original"]) == (old["tree"], old["id"])
