"""`limpet repair` beside `restic repair`: repositories damaged in the ways of restic's change log, and what results."""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.contracts.backend import Content, FileKind, Handle
from limpet.format.indexfile import encode_index
from limpet.format.pack import BlobKind, PackedBlob
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, StorageId
from limpet.repository.repository import Repository
from limpet.testing.handmade import PASSWORD, Handmade
from limpet.testing.restic import Restic
from limpet_backend_local import LocalBackend

pytestmark = pytest.mark.interop

Packs = list[tuple[StorageId, list[PackedBlob]]]


class _Bare(LocalBackend):
    """Without the 256 folders for packs, which would be copied again and again: they are made as they are needed."""

    def create(self) -> None:
        for kind in FileKind:
            if kind is not FileKind.CONFIG:
                Path(self.root, kind.value).mkdir(parents=True)


class Damaged:
    """A small repository with one snapshot, its index not yet stored, and ways to do harm to it."""

    def __init__(self, root: Path, version: int = 2) -> None:
        self.root = root
        self.made = Handmade(_Bare(str(root)), version=version)
        self.repository = self.made.repository
        chance = random.Random(3)
        self.blobs = [chance.randbytes(size) for size in (900, 30, 5_000, 1, 70_000, 2_000)]
        self.data_packs = [self.made.pack(*self.blobs[:3]), self.made.pack(*self.blobs[3:], compressed=version > 1)]

    def finish(self, packs: Packs | None = None) -> None:
        """Store a snapshot of all blobs, and the index."""
        files = [self.made.file(b"%d" % number, blob, stored=False) for number, blob in enumerate(self.blobs)]
        root = self.made.tree(self.made.folder(b"sub", *files[3:]), *files[:3])
        if packs is None:
            self.save_index(self.packs())
        else:
            self.save_index([*packs, *self.packs()[2:]])
        snapshot = Snapshot(time=Time(1_700_000_000_000_000_000), tree=root, paths=["/"], hostname="host")
        self.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))

    def packs(self) -> Packs:
        """All packs and what they hold."""
        index = self.repository.index
        return [(pack_id, index.pack_blobs(pack_id)) for pack_id in index.pack_ids()]

    def save_index(self, packs: Packs) -> Path:
        """Store one index file."""
        return self.save_index_json(encode_index(packs))

    def save_index_json(self, json: bytes) -> Path:
        """Store these bytes as an index."""
        return self.root / "index" / self.repository.save_unpacked(FileKind.INDEX, json).hex()

    def path(self, pack_id: StorageId) -> Path:
        """Where the pack is."""
        return self.root / "data" / pack_id.hex()[:2] / pack_id.hex()

    def cut(self, pack_id: StorageId, size: int) -> None:
        """Take bytes off the end of the pack."""
        path = self.path(pack_id)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-size])

    def flip(self, path: Path, at: int) -> None:
        """Change one byte of a file."""
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)


def _no_index(one: Damaged) -> None:
    one.finish()
    shutil.rmtree(one.root / "index")
    (one.root / "index").mkdir()


def _one_index_lost(one: Damaged) -> None:
    one.finish(one.packs()[:1])


def _index_flipped(one: Damaged) -> None:
    one.finish()
    (index,) = (one.root / "index").iterdir()
    one.flip(index, 40)


def _index_empty(one: Damaged) -> None:
    one.finish()
    (one.root / "index" / ("0" * 64)).write_bytes(b"")


def _index_no_json(one: Damaged) -> None:
    one.finish(one.packs()[:1])
    one.save_index_json(b"{no json}")


def _index_is_a_list(one: Damaged) -> None:
    """As restic wrote it before 0.1."""
    one.finish(one.packs()[:1])
    second = encode_index(one.packs()[1:2])
    one.save_index_json(second[second.index(b"[") : second.rindex(b"]") + 1])


def _index_supersedes(one: Damaged) -> None:
    one.finish(one.packs()[:1])
    second = encode_index(one.packs()[1:2])
    one.save_index_json(b'{"supersedes":["%b"],' % (b"ab" * 32) + second[1:])


def _index_twice(one: Damaged) -> None:
    one.finish()
    one.save_index(one.packs()[:2])


def _index_split(one: Damaged) -> None:
    """Before 0.10 restic could say of a pack one part in each of two indexes."""
    first, second = one.packs()[:2]
    one.finish([(first[0], first[1][:1]), second])
    one.save_index([(first[0], first[1][1:])])


def _index_incomplete(one: Damaged) -> None:
    first, second = one.packs()[:2]
    one.finish([(first[0], first[1][:1]), second])


def _index_names_a_stranger(one: Damaged) -> None:
    """A pack that nobody has."""
    one.finish()
    stranger = PackedBlob(BlobKind.DATA, BlobId(sha256(b"?").digest()), 0, 50, 0)
    one.save_index([(StorageId(sha256(b"??").digest()), [stranger])])


def _index_without_blobs(one: Damaged) -> None:
    one.finish()
    one.save_index([(one.data_packs[0], []), (StorageId(sha256(b"??").digest()), [])])


def _pack_lost(one: Damaged) -> None:
    one.finish()
    one.path(one.data_packs[0]).unlink()


def _tree_pack_lost(one: Damaged) -> None:
    one.finish()
    one.path(one.packs()[2][0]).unlink()


def _pack_cut(one: Damaged) -> None:
    one.finish()
    one.cut(one.data_packs[0], 100)


def _pack_empty(one: Damaged) -> None:
    one.finish()
    one.cut(one.data_packs[0], one.path(one.data_packs[0]).stat().st_size)


def _pack_longer(one: Damaged) -> None:
    one.finish()
    path = one.path(one.data_packs[0])
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"more")


def _pack_flipped(one: Damaged) -> None:
    one.finish()
    one.flip(one.path(one.data_packs[0]), 950)


def _header_flipped(one: Damaged) -> None:
    one.finish()
    path = one.path(one.data_packs[0])
    one.flip(path, path.stat().st_size - 20)


def _unindexed_packs(one: Damaged) -> None:
    """What a backup that was killed leaves: a sound pack, one that is cut, and one that is nothing at all."""
    one.finish()
    one.made.pack(b"sound, and in no index")
    one.cut(one.made.pack(b"cut, and in no index"), 10)
    (one.root / "data/00").mkdir(exist_ok=True)
    (one.root / "data/00" / ("00" * 32)).write_bytes(b"nothing")


def _duplicates(one: Damaged) -> None:
    one.made.pack(one.blobs[0], b"another", one.blobs[4])
    one.finish()


def _mixed(one: Damaged) -> None:
    """Version 1 has packs with trees and data."""
    lone = b'{"nodes":[]}\n'
    one.made.pack_of([(BlobKind.DATA, b"mixed in"), (BlobKind.TREE, lone), (BlobKind.DATA, one.blobs[0])])
    one.finish()


HARMS: dict[str, Callable[[Damaged], None]] = {
    name.strip("_").replace("_", " "): harm
    for name, harm in list(globals().items())
    if name.startswith("_") and callable(harm) and getattr(harm, "__annotations__", {}).get("one") == "Damaged"
}
VERSION_1 = {"index split", "mixed", "index is a list", "index supersedes"}
AN_OLD_LIST = "index is a list"
"""restic reads this no more and takes it for damaged; we can."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote."""

    exit_code: int
    out: str
    err: str


Limpet = Callable[..., Ended]


@pytest.fixture
def limpet(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Limpet:
    """Runs Limpet in this process."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    monkeypatch.setenv("LIMPET_THREADS", "1")
    folder = tmp_path / "ours-cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: str, repository: Path) -> Ended:
        capfdbinary.readouterr()
        exit_code = main(["--no-cache", "-r", str(repository), *arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(exit_code, out.decode(), err.decode())

    return run


@dataclass(frozen=True, slots=True)
class Copies:
    """A damaged repository twice: for us, and for restic."""

    harm: str
    ours: Path
    theirs: Path


@pytest.fixture
def copies(request: pytest.FixtureRequest, tmp_path: Path) -> Copies:
    """The repository that the test's parameter names."""
    name = request.param
    one = Damaged(tmp_path / "ours", 1 if name in VERSION_1 else 2)
    HARMS[name](one)
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    return Copies(name, tmp_path / "ours", tmp_path / "theirs")


def _harmed(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("copies", names, indirect=True)


def _verdict(restic: Restic, repository: Path) -> tuple[int, list[str]]:
    """restic's judgement: the exit code of a check of all data, and what it says but for names of packs and indexes."""
    done = restic.run("check", "--read-data", "--no-lock", repo=repository, password=PASSWORD, check=False)
    text = (done.stdout + done.stderr).decode()
    lines = [re.sub(r"[0-9a-f]{8,64}|[0-9]+ / [0-9]+ packs|\[\d+:\d\d\]", "<id>", line) for line in text.splitlines()]
    return done.returncode, sorted(set(lines))


def _blobs(repository: Path) -> list[tuple[bytes, bytes]]:
    """Every blob that an index names, as often as one does."""
    opened = Repository.open(LocalBackend(str(repository)), PASSWORD)
    opened.load_whole_index()
    return sorted((kind.word.encode(), blob_id) for kind, blob_id in opened.index.iterate())


def _assert_same_outcome(restic: Restic, ours: Path, theirs: Path) -> None:
    assert _blobs(ours) == _blobs(theirs)
    assert _verdict(restic, ours) == _verdict(restic, theirs)


@_harmed(HARMS)
def test_index(restic_new: Restic, limpet: Limpet, copies: Copies) -> None:
    """Whoever repairs with Limpet must get back what restic would have given him back."""
    expected = restic_new.run("repair", "index", repo=copies.theirs, password=PASSWORD)
    ended = limpet("repair", "index", repository=copies.ours)
    assert ended.exit_code == 0
    if copies.harm != AN_OLD_LIST:
        assert sorted(ended.err.splitlines()) == sorted(_without_reasons(expected.stderr.decode(), ended.err))
    _assert_same_outcome(restic_new, copies.ours, copies.theirs)


@_harmed(["no index", "index split", "index names a stranger", "pack cut", "pack longer", "unindexed packs", "mixed"])
def test_index_from_scratch(restic_new: Restic, limpet: Limpet, copies: Copies) -> None:
    """With --read-all-packs nothing that an index says is believed."""
    arguments = ("repair", "index", "--read-all-packs")
    expected = restic_new.run(*arguments, repo=copies.theirs, password=PASSWORD)
    ended = limpet(*arguments, repository=copies.ours)
    assert ended.exit_code == 0
    assert sorted(ended.err.splitlines()) == sorted(expected.stderr.decode().splitlines())
    _assert_same_outcome(restic_new, copies.ours, copies.theirs)


def _without_reasons(theirs: str, ours: str) -> list[str]:
    """restic's lines; where both remove an index as invalid, with our reason for that."""
    reasons = {line.split(": ")[0]: line for line in ours.splitlines() if line.startswith("removing invalid index")}
    return [reasons.get(line.split(": ")[0], line) for line in theirs.splitlines()]


@_harmed(["index incomplete", "tree pack lost", "pack cut", "pack flipped", "header flipped", "duplicates", "mixed"])
def test_packs(restic_new: Restic, limpet: Limpet, copies: Copies, tmp_path: Path) -> None:
    """Every blob that can still be read is saved, every pack that is named goes, and a copy of it is kept."""
    limpet("repair", "index", repository=copies.ours)
    restic_new.run("repair", "index", repo=copies.theirs, password=PASSWORD)
    chosen = [path.name for path in (copies.theirs / "data").rglob("*") if path.is_file()][:4]
    folder = tmp_path / "theirs-cwd"
    folder.mkdir()
    restic_new.run("repair", "packs", *chosen, repo=copies.theirs, password=PASSWORD, cwd=folder)
    assert limpet("repair", "packs", *chosen, repository=copies.ours).exit_code == 0
    kept = [{path.name: path.read_bytes() for path in one.iterdir()} for one in (Path(), folder)]
    assert kept[0] == kept[1]
    _assert_same_outcome(restic_new, copies.ours, copies.theirs)


@_harmed(HARMS)
def test_prune(restic_new: Restic, limpet: Limpet, copies: Copies) -> None:
    """Prune refuses what restic refuses, and where it does its work the outcome is the same."""
    ours, theirs = copies.ours, copies.theirs
    arguments = ("prune", "--max-unused", "0")
    before = _content(ours)
    expected = restic_new.run(*arguments, repo=theirs, password=PASSWORD, check=False)
    ended = limpet(*arguments, repository=ours)
    if copies.harm == AN_OLD_LIST:
        assert (ended.exit_code, expected.returncode) == (0, 1)
        return
    assert ended.exit_code == expected.returncode, ended.err
    if ended.exit_code == 0:
        _assert_same_outcome(restic_new, ours, theirs)
    else:
        assert _content(ours) == before


def _content(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@_harmed(["index split", "index incomplete"])
def test_incomplete_entries_are_completed(restic_new: Restic, limpet: Limpet, copies: Copies) -> None:
    """A pack that the index names in part: the pack itself knows better (restic 21827)."""
    ours = copies.ours
    known = set(_blobs(ours))
    packs = [path.name for path in (ours / "data").rglob("*") if path.is_file()]
    limpet("repair", "packs", *packs, repository=ours)
    assert _verdict(restic_new, ours)[0] == 0
    assert set(_blobs(ours)) >= known


def test_packs_that_make_no_sense(restic_new: Restic, limpet: Limpet, tmp_path: Path) -> None:
    """Nothing is done for a name that cannot be a pack's, and no copy is overwritten: it may be the better one."""
    one = Damaged(tmp_path / "ours")
    one.finish()
    for arguments in [], ["abc"], ["x" * 64], ["latest"]:
        expected = restic_new.run("repair", "packs", *arguments, repo=one.root, password=PASSWORD, check=False)
        assert limpet("repair", "packs", *arguments, repository=one.root).exit_code == expected.returncode == 1
    pack = one.data_packs[0].hex()
    Path(f"pack-{pack}").write_bytes(b"an older copy")
    ended = limpet("repair", "packs", pack, repository=one.root)
    assert ended.exit_code == 1
    assert f"pack-{pack}" in ended.err
    assert Path(f"pack-{pack}").read_bytes() == b"an older copy"
    assert one.path(one.data_packs[0]).exists()


def test_unknown_pack(restic_new: Restic, limpet: Limpet, tmp_path: Path) -> None:
    """A pack that is nowhere: said, and no harm done."""
    one = Damaged(tmp_path / "ours")
    one.finish()
    shutil.copytree(one.root, tmp_path / "theirs")
    ended = limpet("repair", "packs", "ab" * 32, repository=one.root)
    assert ended.exit_code == 0
    assert f"no blobs found for pack {'ab' * 32}" in ended.err
    assert _verdict(restic_new, one.root) == _verdict(restic_new, tmp_path / "theirs")


def test_large_index_is_split(limpet: Limpet, tmp_path: Path) -> None:
    """An index of everything in one file takes the memory of everybody who opens the repository (restic 5249)."""
    one = Damaged(tmp_path / "ours")
    one.finish()
    chance = random.Random(4)
    packs: Packs = []
    for _ in range(50):
        blobs = [PackedBlob(BlobKind.DATA, BlobId(chance.randbytes(32)), 40 * at, 40, 0) for at in range(10_000)]
        packs.append((StorageId(chance.randbytes(32)), blobs))
        handle = Handle(FileKind.PACK, packs[-1][0].hex())
        size = 36 + 10_000 * 77
        one.repository.backend.save(handle, Content(memoryview(bytes(size)), b""))
    one.save_index(packs)
    limpet("repair", "index", repository=one.root)
    sizes = [path.stat().st_size for path in (one.root / "index").iterdir()]
    assert len(sizes) in {10, 11}
    assert len(_blobs(one.root)) == 500_000 + len([blob for _, blobs in one.packs() for blob in blobs])


def test_old_name(limpet: Limpet, tmp_path: Path) -> None:
    """`rebuild-index` is in scripts of many years ago."""
    one = Damaged(tmp_path / "ours")
    _no_index(one)
    ended = limpet("rebuild-index", repository=one.root)
    assert ended.exit_code == 0
    assert "deprecated" in ended.err
    assert limpet("check", "--read-data", repository=one.root).exit_code == 0


def test_a_damaged_snapshot_file(restic_new: Restic, limpet: Limpet, tmp_path: Path) -> None:
    """Advice that does not help is worse than none: as with restic, no command removes what it cannot read."""
    Damaged(tmp_path / "ours")
    ours = tmp_path / "ours"
    name = _add_damaged_snapshot(ours)
    shutil.copytree(ours, tmp_path / "theirs")
    arguments = ("repair", "snapshots", "--forget", name)
    expected = restic_new.run(*arguments, repo=tmp_path / "theirs", password=PASSWORD, check=False)
    assert b"Ignoring" in expected.stdout + expected.stderr
    assert "Ignoring" in limpet(*arguments, repository=ours).err
    for repository in (ours, tmp_path / "theirs"):
        assert (repository / "snapshots" / name).exists()
    checked = limpet("check", repository=ours)
    assert checked.exit_code == 1
    assert f"by hand, for no command does, and `prune` refuses to run:\n\nsnapshots/{name}\n" in checked.err
    assert "repair snapshots" not in checked.err
    (ours / "snapshots" / name).unlink()
    assert limpet("check", repository=ours).exit_code == 0


def _add_damaged_snapshot(repository: Path) -> str:
    """The name of a new snapshot file that does not have the bytes that its name says."""
    name = 64 * "5"
    (repository / "snapshots" / name).write_bytes(b"damaged")
    return name
