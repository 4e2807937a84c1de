"""One repository, two programs: each checks, restores and continues what the other has backed up."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import limpet
import pytest
from limpet.format.compression import Level
from limpet.format.kdf import KdfParameters, new_salt
from limpet.format.node import Node
from limpet.repository.repository import Repository, RepositorySettings
from limpet.testing.restic import Restic

from tests.trees import Facts, facts, make_tree

pytestmark = pytest.mark.interop

PASSWORD = "interop"
HOST = "interop-host"
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]
MIB = 1024 * 1024
OLD_LEVELS = (Level.AUTO, Level.OFF, Level.MAX)
"""restic 0.14 knows no others."""
VARIANTS = [(1, Level.AUTO), *((2, level) for level in Level)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One of everything, made once."""
    root = tmp_path_factory.mktemp("relay") / "tree"
    make_tree(root)
    yield root
    for folder in ("locked", "locked/inner"):
        os.chmod(root / folder, 0o755)


def create(place: Path, version: int = 2, level: Level = Level.AUTO, password: str = PASSWORD) -> Repository:
    """A new repository that opens at once."""
    kdf = KdfParameters(2, 1, 1, new_salt())
    settings = RepositorySettings(compression=level)
    return limpet.create_repository(str(place), password, version=version, kdf=kdf, settings=settings)


def reopened(place: Path, level: Level = Level.AUTO) -> Repository:
    """The repository as it is now."""
    return limpet.open_repository(str(place), PASSWORD, settings=RepositorySettings(compression=level))


def summary(restic: Restic, place: Path, *arguments: str | Path) -> dict[str, Any]:
    """The summary of a backup by restic."""
    documents = restic.json("backup", "--host", HOST, *arguments, repo=place, password=PASSWORD)
    found = documents[-1] if isinstance(documents, list) else documents
    assert found["message_type"] == "summary"
    return dict(found)


def as_saved_by(restic: Restic, expected: Facts) -> Facts:
    """What restic is able to save: 0.14 knows neither attributes of symlinks nor targets that are not UTF-8."""
    if not restic.version().startswith("0.14"):
        return expected
    changed = dict(expected)
    for name, position, saved in ((b"/link", 4, ()), (b"/dangling", 5, "nowhere\ufffd".encode())):
        changed[name] = (*changed[name][:position], saved, *changed[name][position + 1 :])
    return changed


def as_restored_by(restic: Restic, expected: Facts) -> Facts:
    """What restic is able to restore: 0.14 gives the attributes of a symlink to what the link points to."""
    changed = dict(as_saved_by(restic, expected))
    if changed != expected:
        hello = changed[b"/hello"]
        changed[b"/hello"] = (*hello[:4], (*sorted((*hello[4], *expected[b"/link"][4])),), *hello[5:])  # type: ignore[misc]
    return changed


def start(*arguments: str | Path, place: Path) -> subprocess.Popen[bytes]:
    """A running Limpet."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "LIMPET_"))}
    environment = {**kept, "LIMPET_REPOSITORY": str(place), "LIMPET_PASSWORD": PASSWORD}
    return subprocess.Popen(
        [*LIMPET, "--no-cache", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(*arguments: str | Path, place: Path) -> tuple[int, str]:
    """Exit code and all output of a finished Limpet."""
    with start(*arguments, place=place) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, (out + err).decode()


@pytest.mark.parametrize(("version", "level"), VARIANTS, ids=lambda value: getattr(value, "value", f"version {value}"))
def test_restic_takes_over(restic_any: Restic, tree: Path, tmp_path: Path, version: int, level: Level) -> None:
    """Nobody would be free to leave: what we write must be a repository that restic uses as its own."""
    if restic_any.version().startswith("0.14") and level not in OLD_LEVELS:
        pytest.skip("restic 0.14 has no such level; the repository is no other")
    place = tmp_path / "repository"
    with create(place, version, level) as repository:
        ours = limpet.backup(repository, [tree], host=HOST)
    assert ours.errors == 0
    restic_any.run("check", "--read-data", repo=place, password=PASSWORD)
    listed = restic_any.run("ls", "latest", tree, "--recursive", repo=place, password=PASSWORD).stdout.splitlines()
    assert sum(line.startswith(os.fsencode(tree) + b"/") for line in listed) == len(facts(tree))
    restic_any.run("restore", "latest", "--target", tmp_path / "target", repo=place, password=PASSWORD)
    assert facts(tmp_path / "target" / tree.relative_to("/")) == as_restored_by(restic_any, facts(tree))

    theirs = summary(restic_any, place, tree)
    assert theirs["data_blobs"] == 0
    assert (theirs["files_new"], theirs["files_changed"]) == (0, 0)
    assert theirs["files_unmodified"] == ours.counts.files_processed
    assert theirs["total_bytes_processed"] == ours.counts.bytes_processed
    forced = summary(restic_any, place, "--force", tree)
    assert forced["data_blobs"] == 0
    assert forced["files_new"] == ours.counts.files_new
    restic_any.run("check", "--read-data", repo=place, password=PASSWORD)


@pytest.mark.parametrize(("version", "level"), VARIANTS, ids=lambda value: getattr(value, "value", f"version {value}"))
def test_limpet_takes_over(restic_any: Restic, tree: Path, tmp_path: Path, version: int, level: Level) -> None:
    """Years of restic's snapshots would be of no use: every file would be read and stored again."""
    if restic_any.version().startswith("0.14") and level not in OLD_LEVELS:
        pytest.skip("restic 0.14 has no such level")
    place = tmp_path / "repository"
    create(place, version).close()
    theirs = summary(restic_any, place, "--compression", level.value, tree)
    with reopened(place, level) as repository:
        checked = limpet.check(repository, read_data=True)
        assert checked.errors == []
    with reopened(place, level) as repository:
        restored = limpet.restore(repository, tmp_path / "target", f"latest:{tree}")
        assert restored.errors == 0
    assert facts(tmp_path / "target") == as_saved_by(restic_any, facts(tree))

    with reopened(place, level) as repository:
        ours = limpet.backup(repository, [tree], host=HOST)
    assert ours.snapshot is not None
    assert ours.snapshot.snapshot.parent is not None
    assert ours.stored.data_blobs == 0
    assert ours.counts.files_unmodified == theirs["total_files_processed"]
    assert ours.counts.bytes_processed == theirs["total_bytes_processed"]
    with reopened(place, level) as repository:
        first = node_at(repository, tree)
    with reopened(place, level) as repository:
        limpet.backup(repository, [tree], host=HOST)
        assert node_at(repository, tree).subtree == first.subtree
    restic_any.run("check", "--read-data", repo=place, password=PASSWORD)


@pytest.mark.parametrize("version", ["1", "2"])
def test_repository_made_by_restic(restic_any: Restic, tmp_path: Path, version: str) -> None:
    """Its keys and its polynomial are restic's own."""
    place, folder = tmp_path / "repository", tmp_path / "folder"
    folder.mkdir()
    content = random.Random(1).randbytes(4 * MIB)
    (folder / "f").write_bytes(content)
    restic_any.run("init", "--repository-version", version, repo=place, password=PASSWORD)
    with reopened(place) as repository:
        limpet.backup(repository, [folder], host=HOST)
    assert summary(restic_any, place, "--force", folder)["data_blobs"] == 0
    dumped = restic_any.run("dump", "latest", folder / "f", repo=place, password=PASSWORD).stdout
    assert dumped == content


def test_writer_of_another_host_and_zone(restic_new: Restic, tmp_path: Path) -> None:
    """The same disk at another machine in another zone: named as the parent, its files must not be read again."""
    place, folder = tmp_path / "repository", tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/f").write_bytes(b"f")
    create(place).close()
    zone = {"TZ": "Asia/Kathmandu"}
    restic_new.run("backup", "--host", "far-away", folder, repo=place, password=PASSWORD, env=zone)
    with reopened(place) as repository:
        (stored,) = limpet.snapshots(repository)
        assert stored.snapshot.time.offset_s == 20700
        ours = limpet.backup(repository, [folder], parent=stored, host=HOST)
    assert (ours.counts.files_unmodified, ours.stored.data_blobs) == (1, 0)
    assert ours.snapshot is not None
    parent = ["--parent", ours.snapshot.id.hex()]
    far = restic_new.run("backup", "--json", *parent, folder, repo=place, password=PASSWORD, env=zone)
    told = json.loads(far.stdout.splitlines()[-1])
    assert (told["files_unmodified"], told["data_blobs"]) == (1, 0)


def node_at(repository: Repository, path: Path) -> Node:
    """The node in the latest snapshot."""
    return next(node for found, node in limpet.list_files(repository) if found == os.fsencode(path))


def test_edited_in_the_middle(restic_new: Restic, tmp_path: Path) -> None:
    """Chunks of both programs must have the same borders: else a change of a byte stores the whole file again."""
    place, folder = tmp_path / "repository", tmp_path / "folder"
    folder.mkdir()
    content = random.Random(2).randbytes(50 * MIB)
    (folder / "disk").write_bytes(content)
    create(place).close()
    assert summary(restic_new, place, folder)["data_blobs"] > 25
    middle = 25 * MIB
    (folder / "disk").write_bytes(content[:middle] + b"inserted here" + content[middle:])
    with reopened(place) as repository:
        before = node_at(repository, folder / "disk").content or []
        ours = limpet.backup(repository, [folder], host=HOST)
        after = node_at(repository, folder / "disk").content or []
    assert 1 <= ours.stored.data_blobs <= 3
    assert len(set(before) & set(after)) >= len(before) - 3
    assert summary(restic_new, place, "--force", folder)["data_blobs"] == 0
    (folder / "disk").write_bytes(content)
    with reopened(place) as repository:
        assert limpet.backup(repository, [folder], host=HOST).stored.data_blobs == 0
        assert node_at(repository, folder / "disk").content == before


def test_copied_chunker_parameters(restic_new: Restic, tmp_path: Path) -> None:
    """`init --copy-chunker-params` promises that snapshots copied between the two share their chunks."""
    theirs, ours, folder = tmp_path / "theirs", tmp_path / "ours", tmp_path / "folder"
    folder.mkdir()
    (folder / "disk").write_bytes(random.Random(3).randbytes(6 * MIB))
    create(theirs).close()
    summary(restic_new, theirs, folder)
    (tmp_path / "password").write_text(PASSWORD)
    source: list[str | Path] = ["--from-repo", theirs, "--from-password-file", tmp_path / "password"]
    exit_code, told = run("init", "--copy-chunker-params", *source, place=ours)
    assert exit_code == 0, told
    with reopened(ours) as repository, reopened(theirs) as other:
        limpet.backup(repository, [folder], host=HOST)
        assert node_at(repository, folder / "disk").content == node_at(other, folder / "disk").content
    restic_new.run("copy", *source, repo=ours, password=PASSWORD)
    with reopened(ours) as repository:
        assert len({stored.snapshot.tree for stored in limpet.snapshots(repository)}) == 2
        repository.load_index()
        data_blobs = sum(kind.word == "data" for kind, _ in repository.index.iterate())
        assert data_blobs == len(node_at(repository, folder / "disk").content or ())


class TestLocks:
    """Each keeps off what the other holds."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A repository, and a folder beside it."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/f").write_text("f")
        create(tmp_path / "repository").close()
        return tmp_path / "repository"

    def test_restic_keeps_off(self, restic_new: Restic, place: Path) -> None:
        """A prune beside a backup loses data; scripts wait on exit code 11."""
        folder = place.parent / "folder"
        with reopened(place) as repository:
            with repository.lock(exclusive=True):
                refused = restic_new.run("backup", folder, repo=place, password=PASSWORD, check=False)
                assert refused.returncode == 11
            with repository.lock():
                restic_new.run("backup", folder, repo=place, password=PASSWORD)
                refused = restic_new.run("prune", repo=place, password=PASSWORD, check=False)
                assert refused.returncode == 11

    def test_limpet_keeps_off_and_waits(self, restic_new: Restic, place: Path) -> None:
        """A backup beside a backup is fine; what needs the repository for itself waits as long as it is told."""
        folder = place.parent / "folder"
        with restic_new.start("backup", "--stdin", repo=place, password=PASSWORD) as backup:
            deadline = time.monotonic() + 60
            while not [name for name in os.listdir(place / "locks") if len(name) == 64]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert run("backup", folder, place=place)[0] == 0
            exit_code, told = run("check", place=place)
            assert (exit_code, f"PID {backup.pid}" in told) == (11, True)
            with start("check", "--retry-lock", "10m", place=place) as waiting:
                time.sleep(1)
                assert waiting.poll() is None
                assert backup.stdin is not None
                backup.stdin.write(b"x")
                backup.stdin.close()
                assert backup.wait(60) == 0
                assert waiting.wait(60) == 0

    def test_stale_locks(self, restic_new: Restic, place: Path) -> None:
        """The lock of a killed restic must not keep us out for ever, nor ours restic."""
        folder = place.parent / "folder"
        with restic_new.start("backup", "--stdin", repo=place, password=PASSWORD) as backup:
            deadline = time.monotonic() + 60
            while not [name for name in os.listdir(place / "locks") if len(name) == 64]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            backup.kill()
        assert run("unlock", place=place)[0] == 0
        assert os.listdir(place / "locks") == []
        with start("backup", "--stdin-from-command", "--", "sleep", "60", place=place) as ours:
            while not [name for name in os.listdir(place / "locks") if len(name) == 64]:
                assert time.monotonic() < deadline + 30
                time.sleep(0.05)
            assert restic_new.run("prune", repo=place, password=PASSWORD, check=False).returncode == 11
            ours.kill()
        restic_new.run("unlock", repo=place, password=PASSWORD)
        assert os.listdir(place / "locks") == []
        assert run("backup", folder, place=place)[0] == 0
