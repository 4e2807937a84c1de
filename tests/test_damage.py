"""Damage matrix: every kind of stored file, damaged in every way, and what each command makes of it.

`check` names what is damaged, `restore` brings back the rest and says what is lost, snapshots that do not need the
damaged file come back whole, `backup` works or says why not; never a traceback, and real restic judges the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest
from limpet import backup, create_repository, open_repository
from limpet.cli.main import main
from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters
from limpet.format.lockfile import LockFile, encode_lockfile
from limpet.format.pack import BlobKind
from limpet.format.timestamps import Time
from limpet.repository.keys import create_key
from limpet.repository.repository import Repository
from limpet.testing.restic import Restic

PASSWORD = "damaged"
MAX_SECONDS = 60
A_DEAD_PROCESS = 2**22 + 1
"""A pid above any that Linux gives out."""

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Scene:
    """A repository with two snapshots, and two files of each kind of which the second snapshot needs the second."""

    repository: Path
    source: Path
    first: Mapping[str, bytes]
    second: Mapping[str, bytes]
    files: Mapping[str, tuple[Path, Path]]
    """Paths in the repository, by kind."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and all that it said."""

    exit_code: int
    said: str


Run = Callable[..., Ended]
# Locks have tests of their own, and each takes a fifth of a second to gain: commands that only read go without.


def _cheap() -> KdfParameters:
    return KdfParameters(n=2, r=1, p=1, salt=os.urandom(64))


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module", params=[1, 2])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Both versions of the format."""
    folder = tmp_path_factory.mktemp("scene")
    patch = pytest.MonkeyPatch()
    patch.setenv("LIMPET_THREADS", "1")
    source, path = folder / "source", folder / "repository"
    (source / "sub").mkdir(parents=True)
    (source / "stays").write_bytes(os.urandom(3000))
    (source / "sub/one").write_bytes(b"1" * 5000)
    (source / "changes").write_bytes(b"before" * 20)
    repository = create_repository(str(path), PASSWORD, version=request.param, kdf=_cheap())
    create_key(repository.backend, "another", repository.key, parameters=_cheap())
    earlier: set[Path] = set()
    stages = []
    for _ in range(2):
        with open_repository(str(path), PASSWORD) as repository:
            backup(repository, [source], host="here")
        stages.append((_contents(source), {one for one in path.rglob("*") if one.is_file()} - earlier))
        earlier |= stages[-1][1]
        (source / "changes").write_bytes(b"after" * 40)
        (source / "new").write_bytes(os.urandom(4000))
        (source / "sub/two").write_bytes(os.urandom(200_000))
    shutil.rmtree(source / "sub")
    (source / "sub").mkdir()
    for name, content in stages[1][0].items():
        (source / name).write_bytes(content)
    with open_repository(str(path), PASSWORD) as repository:
        repository.load_index()
        own_key = repository.key_id.hex()
        kinds = {pack.hex(): repository.index.pack_blobs(pack)[0].kind for pack in repository.index.pack_ids()}

    def found(folder_name: str, stage: int, kind: BlobKind | None = None) -> Path:
        files = sorted(stages[stage][1])
        return next(
            one.relative_to(path)
            for one in files
            if one.relative_to(path).parts[0] == folder_name and kind in {None, kinds.get(one.name)}
        )

    keys = sorted((one.relative_to(path) for one in (path / "keys").iterdir()), key=lambda one: one.name == own_key)
    yield Scene(
        path,
        source,
        stages[0][0],
        stages[1][0],
        {
            "config": (Path("config"), Path("config")),
            "key": (keys[0], keys[1]),
            "snapshot": (found("snapshots", 0), found("snapshots", 1)),
            "index": (found("index", 0), found("index", 1)),
            "tree pack": (found("data", 0, BlobKind.TREE), found("data", 1, BlobKind.TREE)),
            "data pack": (found("data", 0, BlobKind.DATA), found("data", 1, BlobKind.DATA)),
        },
    )
    patch.undo()


def _flip(path: Path, place: float) -> None:
    stored = bytearray(path.read_bytes())
    stored[int(place * (len(stored) - 1))] ^= 0x10
    _write(path, bytes(stored))


def _write(path: Path, stored: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(stored)


def _swap(path: Path, other: Path) -> None:
    kept = path.read_bytes()
    _write(path, other.read_bytes())
    _write(other, kept)


DAMAGES: Mapping[str, Callable[[Path, Path], None]] = {
    "removed": lambda path, other: path.unlink(),
    "cut to half": lambda path, other: _write(path, path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path, other: _write(path, b""),
    "flipped at the start": lambda path, other: _flip(path, 0.0),
    "flipped in the middle": lambda path, other: _flip(path, 0.5),
    "flipped at the end": lambda path, other: _flip(path, 1.0),
    "swapped": _swap,
}
TO_OPEN = [
    (kind, damage) for kind in ("config", "key") for damage in DAMAGES if (kind, damage) != ("config", "swapped")
]
TO_READ = [(kind, damage) for kind in ("snapshot", "index", "tree pack", "data pack") for damage in DAMAGES]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Run]:
    """Runs Limpet in this process; fails the test on tracebacks and what hangs."""
    monkeypatch.setenv("LIMPET_THREADS", "1")
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)

    def hangs(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("the command hangs")

    def run_limpet(*arguments: str | Path) -> Ended:
        capfdbinary.readouterr()
        signal.alarm(MAX_SECONDS)
        exit_code = main(["--no-cache", *map(str, arguments)])
        signal.alarm(0)
        sys.stdout.flush()
        said = b"".join(capfdbinary.readouterr()).decode("utf-8", "replace")
        assert "Traceback" not in said
        assert "unexpected" not in said.replace("unexpected file size", "").replace("unexpected pack id", "")
        return Ended(exit_code, said)

    earlier = signal.signal(signal.SIGALRM, hangs)
    yield run_limpet
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


@pytest.fixture
def repository(scene: Scene, tmp_path: Path) -> Path:
    """A copy of the scene's repository, to be damaged."""
    return Path(shutil.copytree(scene.repository, tmp_path / "repository"))


def _judge(restic: Restic, repository: Path, *arguments: str) -> int:
    return restic.run("check", "--no-lock", *arguments, repo=repository, password=PASSWORD, check=False).returncode


def _names(said: str, *files: Path) -> bool:
    return any(file.name[:8] in said for file in files)


@pytest.mark.parametrize(("kind", "damage"), TO_OPEN)
def test_cannot_be_opened(  # noqa: PLR0917  # fixtures
    kind: str, damage: str, scene: Scene, repository: Path, tmp_path: Path, run: Run, restic_new: Restic
) -> None:
    """Without config or key there is no way in: every command says so, in one way, and changes nothing."""
    first, second = scene.files[kind]
    DAMAGES[damage](repository / second, repository / first)
    expected = _judge(restic_new, repository)
    assert expected != 0
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    for command in (
        ["check"], ["check", "--read-data"], ["restore", "latest", "-t", tmp_path / "target"], ["backup", scene.source],
        ["snapshots"], ["dump", "latest", "/"],
    ):  # fmt: skip
        ended = run("-r", repository, *command)
        assert ended.exit_code == expected
        assert "Fatal:" in ended.said
        if (kind, damage) == ("key", "removed"):
            assert "wrong password or no key found" in ended.said
        else:
            assert _names(ended.said, first, second)
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("kind", "damage"), TO_READ)
def test_damage(  # noqa: PLR0917  # fixtures
    kind: str, damage: str, scene: Scene, repository: Path, tmp_path: Path, run: Run, restic_new: Restic
) -> None:
    """What a person is told, and what there is left, when something that snapshots need is damaged."""
    first, second = scene.files[kind]
    DAMAGES[damage](repository / second, repository / first)
    is_all_damaged = damage == "swapped"  # both snapshots need one of the two
    for how in [], ["--read-data"]:
        checked = run("-r", repository, "--no-lock", "check", *how)
        assert checked.exit_code == _judge(restic_new, repository, *how), checked.said
        if checked.exit_code and (kind, damage) != ("index", "removed"):
            assert _names(checked.said, second), checked.said
        if (kind, damage) != ("snapshot", "removed") and how:
            assert checked.exit_code == 1
    snapshots = [file.name for file in scene.files["snapshot"]]
    for number, content in enumerate((scene.first, scene.second)):
        target = tmp_path / str(number)
        restored = run("-r", repository, "--no-lock", "restore", snapshots[number], "-t", target)
        lost = _lost(target, scene.source, content)
        assert (restored.exit_code == 0) == (not lost), restored.said
        assert all(_is_told(path, scene.source, restored.said) for path in lost), restored.said
        if number == 0 and not is_all_damaged:
            assert restored.exit_code == 0, restored.said
    backed_up = run("-r", repository, "backup", "--host", "here", scene.source)
    if backed_up.exit_code not in {0, 3}:  # 3: saved, and told that something could not be read
        assert _names(backed_up.said, first, second), backed_up.said
    elif kind in {"snapshot", "index"}:
        # Nothing that was lost is built upon: the new snapshot is whole again.
        again = run("-r", repository, "--no-lock", "restore", "latest", "-t", tmp_path / "again")
        assert not _lost(tmp_path / "again", scene.source, scene.second), backed_up.said + again.said


def _lost(target: Path, source: Path, content: Mapping[str, bytes]) -> list[str]:
    """Files that are not there as they were."""
    below = target / source.relative_to("/")
    return [
        name
        for name, expected in content.items()
        if not (below / name).is_file() or (below / name).read_bytes() != expected
    ]


def _is_told(name: str, source: Path, said: str) -> bool:
    """Whether the loss of the file, of a folder above it or of everything was told."""
    path = source / name
    return "Fatal:" in said or any(f"ignoring error for {one}:" in said for one in (path, *path.parents))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_lock(  # noqa: PLR0917  # fixtures
    damage: str, scene: Scene, repository: Path, tmp_path: Path, run: Run, restic_new: Restic
) -> None:
    """A damaged lock shuts nobody out for ever: reading goes without locks, and `unlock` removes it."""
    with open_repository(str(repository), PASSWORD) as opened:
        locks = [_save_lock(opened) for _ in range(2)]
    DAMAGES[damage](locks[1], locks[0])
    assert _judge(restic_new, repository) == 0
    assert run("-r", repository, "--no-lock", "check", "--read-data").exit_code == 0
    assert run("-r", repository, "--no-lock", "restore", "latest", "-t", tmp_path / "target").exit_code == 0
    assert not _lost(tmp_path / "target", scene.source, scene.second)
    assert run("-r", repository, "unlock", "--remove-all").exit_code == 0
    assert run("-r", repository, "check").exit_code == 0
    assert run("-r", repository, "backup", scene.source).exit_code == 0
    assert not list((repository / "locks").iterdir())


def _save_lock(repository: Repository) -> Path:
    lock = LockFile(Time(time.time_ns()), False, os.uname().nodename, "somebody", A_DEAD_PROCESS, 0, 0)
    lock_id = repository.save_unpacked(FileKind.LOCK, encode_lockfile(lock))
    return Path(repository.backend.location.removeprefix("path:").removeprefix("local:")) / "locks" / lock_id.hex()
