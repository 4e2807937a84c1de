"""A damaged repository is mounted all the same: what is whole is read, what is not is an error that says so."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.mounting import Mounted, Mounts

SIZE = 700_000


@dataclass(frozen=True, slots=True)
class Damaged:
    """A mount of a repository in which each of three files has a pack of its own, which can be harmed."""

    mount: Mounted
    folder: Path
    packs: dict[str, Path]
    trees: dict[str, Path]
    contents: dict[str, bytes]

    def read(self, name: str) -> bytes:
        """The file of that name in the mount."""
        return (self.folder / name / "file").read_bytes()


@pytest.fixture
def damaged(mounts: Mounts, tmp_path: Path) -> Damaged:
    """Three snapshots, each with a folder more than the one before."""
    source = tmp_path / "source"
    draw = random.Random(3)
    packs: dict[str, Path] = {}
    trees: dict[str, Path] = {}
    contents = {}
    for name in ("first", "second", "third"):
        before = stored(mounts)
        (source / name).mkdir(parents=True)
        contents[name] = draw.randbytes(SIZE)
        (source / name / "file").write_bytes(contents[name])
        mounts.site.run("backup", source)
        by_size = sorted(stored(mounts) - before, key=lambda path: path.stat().st_size)
        trees[name], packs[name] = by_size[0], by_size[-1]
    mount = mounts.start("--no-cache")
    folder = mount.point / "snapshots" / "latest" / str(source).lstrip("/")
    return Damaged(mount, folder, packs, trees, contents)


def stored(mounts: Mounts) -> set[Path]:
    """All packs."""
    return {path for path in (mounts.site.repository / "data").rglob("*") if path.is_file()}


def flip(pack: Path) -> None:
    """A bit in the middle is another."""
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 4
    pack.chmod(0o600)
    pack.write_bytes(data)


def cut(pack: Path) -> None:
    """The second half is lost."""
    pack.chmod(0o600)
    os.truncate(pack, pack.stat().st_size // 2)


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
def test_a_damaged_pack(damaged: Damaged, harm: Callable[[Path], None]) -> None:
    """Wrong data are never given out; the file is an input/output error, and all others are there."""
    harm(damaged.packs["second"])
    with pytest.raises(OSError) as raised:  # noqa: PT011  # the number is looked at
        damaged.read("second")
    assert raised.value.errno == errno.EIO
    for name in ("first", "third"):
        assert damaged.read(name) == damaged.contents[name]
    assert (damaged.folder / "second" / "file").stat().st_size == SIZE
    ended = damaged.mount.end()
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert "second" in ended.err or damaged.packs["second"].name[:8] in ended.err, ended.err


def test_a_damaged_folder(damaged: Damaged) -> None:
    """What a folder holds cannot be known then; what is beside it can."""
    flip(damaged.trees["third"])
    with pytest.raises(OSError, match="Input/output error"):
        os.listdir(damaged.folder)
    latest = os.readlink(damaged.mount.point / "snapshots" / "latest")
    older = [name for name in sorted(os.listdir(damaged.mount.point / "snapshots")) if name not in (latest, "latest")]
    inner = damaged.folder.relative_to(damaged.mount.point / "snapshots" / "latest")
    for name in older:
        found = damaged.mount.point / "snapshots" / name / inner / "first" / "file"
        assert found.read_bytes() == damaged.contents["first"]
    assert damaged.mount.end().code == 0


def test_mended_meanwhile(damaged: Damaged) -> None:
    """A pack that comes back (from a copy of the repository) is read: an error is not kept for ever."""
    pack = damaged.packs["second"]
    kept = pack.read_bytes()
    pack.unlink()
    with pytest.raises(OSError, match="Input/output error"):
        damaged.read("second")
    pack.write_bytes(kept)
    assert damaged.read("second") == damaged.contents["second"]
    assert damaged.mount.end().code == 0
