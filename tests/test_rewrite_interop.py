"""Snapshots made anew by both programs on copies of one repository: the same trees, the same words in snapshots."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import limpet
import pytest
from limpet import registry
from limpet.cli.main import main
from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters
from limpet.format.pack import BlobKind
from limpet.format.snapshot import encode_snapshot
from limpet.ids import BlobId
from limpet.repository.repository import Repository
from limpet.testing.restic import Restic

pytestmark = pytest.mark.interop

PASSWORD = "rewritten"
CHEAP = KdfParameters(n=16, r=8, p=1, salt=bytes(64))
NAMES = ("plain", "esc\x1b[31mred", "<h&>", "ä ü 宽", 'q"\\', "x.tmp")


@pytest.fixture(scope="module")
def made(restic_new: Restic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three snapshots by restic, one without a summary."""
    folder = tmp_path_factory.mktemp("rewrite")
    repository, work = folder / "repository", folder / "work"
    Repository.create(registry.open_backend(str(repository)), PASSWORD, kdf=CHEAP).close()
    (work / "a/b/c").mkdir(parents=True)
    (work / "empty").mkdir()
    (work / "a/b/c/deep.tmp").write_text("deep")
    for number, name in enumerate(NAMES):
        (work / "a" / name).write_bytes(random.Random(number).randbytes(1000 * number))
    (work / "a/link").symlink_to("plain")
    restic_new.run("backup", "work", "--tag", "one", repo=repository, password=PASSWORD, cwd=folder)
    (work / "large").write_bytes(random.Random(9).randbytes(3_000_000))
    restic_new.run("backup", "work", "--host", "other", repo=repository, password=PASSWORD, cwd=folder)
    (work / "late").write_text("late")
    restic_new.run("backup", "work", "--time", "2020-02-03 04:05:06", repo=repository, password=PASSWORD, cwd=folder)
    return repository


class Two:
    """A copy of the repository for each of the programs."""

    def __init__(self, restic: Restic, made: Path, folder: Path) -> None:
        self.restic = restic
        self.paths = (folder / "theirs", folder / "ours")
        for path in self.paths:
            shutil.copytree(made, path)

    def harm(self, damage: Callable[[Path], None]) -> None:
        """Do the same damage to both."""
        for path in self.paths:
            damage(path)

    def run(self, *arguments: str) -> tuple[int, int]:
        """The exit codes of a command by each; restic's first."""
        return self.restic_alone(*arguments), main(["--no-cache", "-r", str(self.paths[1]), *arguments])

    def restic_alone(self, *arguments: str) -> int:
        """The exit code of the command by restic."""
        return self.restic.run(*arguments, repo=self.paths[0], password=PASSWORD, check=False).returncode

    def snapshots(self) -> list[list[dict[str, Any]]]:
        """The documents of all snapshots that each has."""
        return [self._snapshots(path) for path in self.paths]

    def _snapshots(self, path: Path) -> list[dict[str, Any]]:
        with limpet.open_repository(str(path), PASSWORD) as repository:
            found = [json.loads(encode_snapshot(stored.snapshot)) for stored in limpet.snapshots(repository)]
        return sorted(found, key=lambda one: json.dumps(one, sort_keys=True))

    def restore_all(self) -> None:
        """restic restores every snapshot of ours without an error."""
        path = self.paths[1]
        for info in registry.open_backend(str(path)).list(FileKind.SNAPSHOT):
            target = path.parent / "restored" / info.name
            self.restic.run("restore", info.name, "--target", target, repo=path, password=PASSWORD)

    def check(self) -> None:
        """restic finds nothing wrong with ours."""
        self.restic.run("check", "--read-data", repo=self.paths[1], password=PASSWORD)


@pytest.fixture
def two(restic_new: Restic, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Two:
    """Both programs."""
    for name in list(os.environ):
        if name.startswith(("RESTIC_", "LIMPET_")) and name != "LIMPET_REQUIRE_SERVICES":
            monkeypatch.delenv(name)
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    return Two(restic_new, made, tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--exclude", "*.tmp"],
        ["--exclude", "*.tmp", "--forget"],
        ["--iexclude", "PLAIN", "--exclude", "/work/empty", "--tag", "one"],
        ["--include", "*.tmp", "--forget"],
        ["--iinclude", "/WORK/EMPTY", "--host", "other"],
        ["--include", "nosuch"],
        ["--exclude", "nosuch"],
        ["--exclude", "*"],
        ["--snapshot-summary"],
        ["--new-host", "elsewhere", "--new-time", "1999-12-31 23:59:59"],
        ["--new-host", "elsewhere", "--forget", "latest"],
        ["--exclude", "a", "--dry-run"],
    ],
    ids=" ".join,
)
def test_rewrite(two: Two, arguments: Sequence[str]) -> None:
    """The same files must be gone, and the new snapshots must say the same: scripts look for them."""
    theirs, ours = two.run("rewrite", *arguments)
    assert (theirs, ours) == (0, 0)
    expected, found = two.snapshots()
    assert found == expected
    two.check()


def test_a_lossy_tree_is_refused_by_both(two: Two) -> None:
    """What a newer program has stored must not vanish from a rewritten snapshot."""

    def add_foreign_tree(path: Path) -> None:
        from limpet.operations.origin import Origin  # noqa: PLC0415
        from limpet.operations.recover import save_roots  # noqa: PLC0415
        from limpet.repository.saver import BlobSaver  # noqa: PLC0415

        with limpet.open_repository(str(path), PASSWORD) as repository:
            repository.load_index()
            saver = BlobSaver(repository)
            tree = saver.save_tree(b'{"nodes":[],"of the future":true}\n')
            saver.flush()
            saver.close()
            save_roots(repository, [tree], Origin("h", "u", 0, 0, 0))

    two.harm(add_foreign_tree)
    before = two.snapshots()
    assert two.run("rewrite", "--exclude", "x", "--tag", "recovered") == (1, 1)
    assert two.snapshots() == before


# -- damage ----------------------------------------------------------------------------------------------------------


def _blob_of(repository: Repository, path: str) -> tuple[BlobKind, BlobId]:
    """The first blob of a file, or the tree of a folder, in the newest snapshot."""
    for found, node in limpet.list_files(repository):
        if found == path.encode():
            if node.subtree is not None:
                return BlobKind.TREE, node.subtree
            assert node.content
            return BlobKind.DATA, node.content[-1]
    raise AssertionError(path)


def without_blob(*lost: str) -> Callable[[Path], None]:
    """Damage: the index no longer names the blobs of these paths; `/` is the root of the newest snapshot."""

    def damage(path: Path) -> None:
        with limpet.open_repository(str(path), PASSWORD) as repository:
            repository.load_index()
            gone = set()
            for name in lost:
                if name == "/":
                    root = limpet.snapshots(repository)[-1].snapshot.tree
                    assert root is not None
                    gone.add((BlobKind.TREE, root))
                else:
                    gone.add(_blob_of(repository, name))
            packs = [
                (pack, [blob for blob in repository.index.pack_blobs(pack) if (blob.kind, blob.id) not in gone])
                for pack in repository.index.pack_ids()
            ]
            for info in repository.list_files(FileKind.INDEX):
                repository.remove_unpacked(FileKind.INDEX, type(packs[0][0])(bytes.fromhex(info.name)))
            repository.save_index([(pack, blobs) for pack, blobs in packs if blobs])

    return damage


@pytest.mark.parametrize(
    ("lost", "arguments"),
    [
        (["/work/a/ä ü 宽"], ["--forget"]),
        (["/work/large"], []),
        (["/work/a/b"], ["--forget"]),
        (["/work/a"], ["--dry-run"]),
        (["/"], []),
        (["/work/a/b/c", "/work/a/x.tmp"], ["--forget"]),
    ],
    ids=" ".join,
)
def test_repair_snapshots(two: Two, lost: Sequence[str], arguments: Sequence[str]) -> None:
    """What is left of a broken snapshot is what restic leaves of it, and all of that can be restored."""
    two.harm(without_blob(*lost))
    assert two.run("repair", "snapshots", *arguments) == (0, 0)
    expected, found = two.snapshots()
    assert found == expected
    if arguments == ["--forget"]:
        two.restore_all()


def _newest_paths(path: Path) -> list[bytes]:
    with limpet.open_repository(str(path), PASSWORD) as repository:
        return [found for found, _ in limpet.list_files(repository)]


def test_recover(two: Two) -> None:
    """The same roots are found, and their snapshot can be read by both programs."""

    def forget(path: Path) -> None:
        with limpet.open_repository(str(path), PASSWORD) as repository:
            for stored in limpet.snapshots(repository)[:2]:
                repository.remove_unpacked(FileKind.SNAPSHOT, stored.id)

    two.harm(forget)
    assert main(["--no-cache", "-r", str(two.paths[1]), "recover"]) == 0
    # restic 0.19.1 takes the roots in random order, and refuses its own tree if they come in the wrong one.
    assert any(two.restic_alone("recover") == 0 for _ in range(30))
    two.check()
    expected, found = (_newest_paths(path) for path in two.paths)
    assert found == expected
    assert len(found) > 10
    assert two.run("recover") == (0, 0)
    assert [len(one) for one in two.snapshots()] == [2, 2]


def test_migrate(restic_any: Restic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic reads, checks and continues a repository that we have moved to version 2, now compressed."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    path, work = tmp_path / "repository", tmp_path / "work"
    Repository.create(registry.open_backend(str(path)), PASSWORD, version=1, kdf=CHEAP).close()
    work.mkdir()
    (work / "text").write_text("all work and no play\n" * 1000)
    restic_any.run("backup", "work", repo=path, password=PASSWORD, cwd=tmp_path)
    assert main(["--no-cache", "-r", str(path), "migrate", "upgrade_repo_v2"]) == 0
    restic_any.run("check", "--read-data", repo=path, password=PASSWORD)
    assert json.loads(restic_any.cat("config", repo=path, password=PASSWORD))["version"] == 2
    (work / "more").write_text("all play and no work\n" * 1000)
    restic_any.run("backup", "work", repo=path, password=PASSWORD, cwd=tmp_path)
    restic_any.run("check", "--read-data", repo=path, password=PASSWORD)
    with limpet.open_repository(str(path), PASSWORD) as repository:
        assert limpet.read_file(repository, "/work/more") == b"all play and no work\n" * 1000
        assert limpet.read_file(repository, "/work/text") == b"all work and no play\n" * 1000
