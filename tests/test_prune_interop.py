"""`limpet prune` beside `restic prune`: the same plan in the same words, and afterwards the same blobs, all sound."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.contracts.backend import FileKind, Handle
from limpet.format.compression import Level
from limpet.operations.prune import PruneOptions, UnusedLimit
from limpet.operations.prune.run import prune
from limpet.repository.repository import Repository, RepositorySettings
from limpet.storage.recording import CrashError, RecordingBackend
from limpet.testing.backups import PASSWORD, BackupScene
from limpet.testing.restic import Restic
from limpet_backend_local import LocalBackend

KIB = 1024
PACK_BYTES = 64 * KIB

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote."""

    exit_code: int
    out: str
    err: str


Limpet = Callable[..., Ended]


@pytest.fixture
def limpet(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Limpet:
    """Runs Limpet in this process."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    monkeypatch.setenv("LIMPET_THREADS", "1")

    def run(*arguments: str, repository: Path) -> Ended:
        capfdbinary.readouterr()
        exit_code = main(["--no-cache", "-r", str(repository), *arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(exit_code, out.decode(), err.decode())

    return run


def _make(folder: Path, *, version: int = 2, duplicates: bool = False) -> Path:
    """A repository with packs that are used, partly used and unused, compressed and not."""
    chance = random.Random(version)
    root = folder / "repository"
    local = LocalBackend(str(root))
    local.create()
    scene = BackupScene(folder / "source", backend=local, version=version)
    for generation in range(4):
        for number in range(60):
            path = scene.folder / f"folder-{number % 5}" / f"file-{number}"
            path.parent.mkdir(exist_ok=True)
            if generation == 0 or number % 4 == generation:
                size = chance.choice((50, 3_000, 20_000))
                path.write_bytes(chance.randbytes(size) + b"x" * size)
        level = Level.OFF if generation == 1 else Level.AUTO
        scene.settings = RepositorySettings(pack_size_bytes=PACK_BYTES, compression=level)
        scene.backup()
    for stored in scene.snapshots()[0], scene.snapshots()[2]:
        local.remove(Handle(FileKind.SNAPSHOT, stored.id.hex()))
    if duplicates:
        dying = RecordingBackend(local)
        repository = Repository.open(dying, PASSWORD, settings=RepositorySettings(pack_size_bytes=PACK_BYTES))
        dying.stop_after(4)
        with pytest.raises(CrashError):
            prune(repository, PruneOptions(max_unused=UnusedLimit(size_bytes=0)))
    return root


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each version, and one with what an interrupted prune left."""
    folder = tmp_path_factory.mktemp("prune")
    (folder / "1").mkdir()
    (folder / "2").mkdir()
    (folder / "3").mkdir()
    return {
        "version 1": _make(folder / "1", version=1),
        "version 2": _make(folder / "2"),
        "interrupted": _make(folder / "3", duplicates=True),
    }


POLICIES = [
    [],
    ["--max-unused", "0"],
    ["--max-unused", "unlimited"],
    ["--max-unused", "30%", "--repack-smaller-than", "20K"],
    ["--max-unused", "100k", "--repack-smaller-than=40K"],
    ["--max-unused", "0", "--repack-smaller-than", "1k"],
    ["--max-repack-size", "0"],
    ["--max-repack-size", "200K"],
    ["--repack-cacheable-only"],
    ["--repack-cacheable-only", "--max-repack-size", "0"],
    ["--repack-small", "--max-unused=12.5%"],
    ["--repack-uncompressed", "--repack-smaller-than", "1k", "--max-unused", "unlimited"],
]


def _figures(text: str) -> list[str]:
    """The lines without times, and without those that name packs in no order."""
    return [re.sub(r"^\[\d+:\d\d\]", "[]", line) for line in text.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize("name", ["version 1", "version 2"])
@pytest.mark.parametrize("policy", POLICIES, ids=" ".join)
def test_the_plan_is_restics(
    restic_new: Restic, limpet: Limpet, repositories: dict[str, Path], name: str, policy: Sequence[str]
) -> None:
    """Another plan rewrites more than was asked for, or keeps what should be gone."""
    repository = repositories[name]
    arguments = ["prune", "--dry-run", "-v", *policy]
    theirs = restic_new.run(*arguments, repo=repository, password=PASSWORD, check=False)
    ours = limpet(*arguments, repository=repository)
    assert ours.exit_code == theirs.returncode
    if theirs.returncode == 0:
        assert _figures(ours.out) == _figures(theirs.stdout.decode())
    assert ours.err.removeprefix("Fatal: ") == theirs.stderr.decode()


@pytest.mark.parametrize(
    ("name", "number"),
    [("version 1", 0), ("version 1", 1), ("version 2", 1), ("version 2", 3), ("version 2", 11), ("interrupted", 1)],
)
def test_the_blobs_are_restics(  # noqa: PLR0917  # fixtures and parameters
    restic_new: Restic, limpet: Limpet, repositories: dict[str, Path], tmp_path: Path, name: str, number: int
) -> None:
    """What is needed is there and sound, and what restic removes is gone."""
    policy = [flag for flag in POLICIES[number] if name != "version 1" or flag != "--repack-uncompressed"]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(repositories[name], ours)
    shutil.copytree(repositories[name], theirs)
    restic_new.run("prune", *policy, repo=theirs, password=PASSWORD)
    ended = limpet("prune", *policy, repository=ours)
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.endswith("done\n")
    restic_new.run("check", "--read-data", repo=ours, password=PASSWORD)
    used = [restic_new.run("prune", "-n", "-v", repo=one, password=PASSWORD).stdout for one in (ours, theirs)]
    expected, got = (re.findall(r"^used: +(\d+) blobs", one.decode(), re.MULTILINE) for one in used)
    assert got == expected
    if "--max-unused" in policy and policy[policy.index("--max-unused") + 1] == "0":
        blobs = [restic_new.run("list", "blobs", repo=one, password=PASSWORD).stdout for one in (ours, theirs)]
        first, second = (sorted(one.splitlines()) for one in blobs)
        assert first == second


def test_an_interrupted_prune_is_finished(
    restic_new: Restic, limpet: Limpet, repositories: dict[str, Path], tmp_path: Path
) -> None:
    """What the first one has rewritten is not rewritten again, and its originals go."""
    repository = tmp_path / "repository"
    shutil.copytree(repositories["interrupted"], repository)
    before = limpet("prune", "-n", "-v", "--max-unused", "0", repository=repository)
    assert "duplicates: " in before.out or "unreferenced: " in before.out
    limpet("prune", "--max-unused", "0", repository=repository)
    after = limpet("prune", "-n", "-v", "--max-unused", "0", repository=repository)
    assert re.search(r"^unused: +0 blobs / 0 B$", after.out, re.MULTILINE)
    assert "duplicates" not in after.out
    assert "unreferenced" not in after.out
    restic_new.run("check", "--read-data", repo=repository, password=PASSWORD)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-unused", "x"],
        ["--max-unused", ""],
        ["--max-unused", "100%"],
        ["--max-unused", "-1%"],
        ["--max-unused", "abc%"],
        ["--max-repack-size", "5X"],
        ["--repack-smaller-than", "0"],
        ["--repack-smaller-than", "17M"],
        ["--repack-smaller-than", "x"],
        ["--no-lock"],
        ["--repack-uncompressed", "--compression", "off"],
        ["--unsafe-recover-no-free-space", "yes"],
    ],
    ids=" ".join,
)
def test_refused(restic_new: Restic, limpet: Limpet, repositories: dict[str, Path], arguments: Sequence[str]) -> None:
    """A limit that is misread may remove what somebody wanted to keep, or fill a disk."""
    repository = repositories["version 2"]
    theirs = restic_new.run("prune", *arguments, repo=repository, password=PASSWORD, check=False)
    ours = limpet("prune", *arguments, repository=repository)
    assert ours.exit_code == theirs.returncode == 1
    expected = theirs.stderr.decode().splitlines()[-1].removeprefix("Fatal: ").partition(": ")[0]
    assert expected.split(" passed")[0].split("strconv")[0] in ours.err


def test_json(limpet: Limpet, repositories: dict[str, Path], tmp_path: Path) -> None:
    """Programs that read restic's summary document (0.20) read ours; nothing else is on standard output."""
    repository = tmp_path / "repository"
    shutil.copytree(repositories["version 2"], repository)
    planned = limpet("prune", "--json", "--dry-run", repository=repository)
    done = limpet("prune", "--json", repository=repository)
    first, second = json.loads(planned.out), json.loads(done.out)
    assert first == second
    assert list(first) == ["message_type", "blobs", "bytes", "packfiles"]
    assert first["blobs"]["total"] == first["blobs"]["remaining"] + first["blobs"]["remove_total"]
    assert first["bytes"]["remaining"] == first["bytes"]["total"] - first["bytes"]["remove_total"]
    after = json.loads(limpet("prune", "--json", repository=repository).out)
    assert after["bytes"]["total"] <= first["bytes"]["total"]


def test_no_free_space(restic_new: Restic, limpet: Limpet, repositories: dict[str, Path], tmp_path: Path) -> None:
    """The way out for a full disk: no pack is written, unused ones go, and the repository is whole afterwards."""
    repository = tmp_path / "repository"
    shutil.copytree(repositories["interrupted"], repository)
    config = json.loads(restic_new.cat("config", repo=repository, password=PASSWORD))
    packs = {path.name for path in (repository / "data").rglob("*") if path.is_file()}
    ended = limpet("prune", "--unsafe-recover-no-free-space", config["id"], repository=repository)
    assert (ended.exit_code, ended.err) == (0, "")
    assert "deleting index files" in ended.out
    left = {path.name for path in (repository / "data").rglob("*") if path.is_file()}
    assert left < packs
    restic_new.run("check", "--read-data", repo=repository, password=PASSWORD)


def test_forget_prunes(restic_new: Restic, limpet: Limpet, repositories: dict[str, Path], tmp_path: Path) -> None:
    """The command that most people run every night: snapshots and their data go in one go."""
    repository = tmp_path / "repository"
    shutil.copytree(repositories["version 2"], repository)
    preview = limpet("forget", "--keep-last", "1", "--prune", "--dry-run", repository=repository)
    assert "Would have made the following changes:" in preview.out
    ended = limpet("forget", "--keep-last", "1", "--prune", repository=repository)
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.endswith("done\n")
    restic_new.run("check", "--read-data", repo=repository, password=PASSWORD)
    plan = [re.findall(r"^total prune: .*$", text, re.MULTILINE) for text in (preview.out, ended.out)]
    assert plan[0] == plan[1]
