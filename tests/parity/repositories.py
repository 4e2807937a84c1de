"""The repositories that both programs are compared on, and the files they are backups of. All made by restic."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limpet import registry
from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters
from limpet.format.lockfile import LockFile, encode_lockfile
from limpet.format.timestamps import Time
from limpet.repository.repository import Repository

from tests.parity.programs import PASSWORD, Ended, ResticProgram, start

CHEAP = KdfParameters(n=16, r=8, p=1, salt=bytes(64))
LONG_AGO_NS = 1_500_000_000_123_456_789
NAMES = ("plain", "esc\x1b[31mred", "<h&>", "ä ü 宽", ".hidden", "x.tar.gz", 'q"\\')
REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a repository, and the names that command lines use for what is in it."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.folder / REPOSITORY

    def ids(self) -> set[str]:
        """The names of all files of the repository, and what `names` says."""
        stored = {name for _, _, files in os.walk(self.repository) for name in files}
        return stored | set(self.names.values())

    def copy(self, folder: Path) -> Place:
        """The same in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Place(folder, self.names)


def fill(source: Path) -> None:
    """Files and folders of every kind that needs no root, and whose content compresses differently."""
    draw = random.Random(7)
    (source / "docs/deep/er").mkdir(parents=True)
    (source / "photos").mkdir()
    (source / "empty").mkdir()
    (source / "cache").mkdir()
    (source / "docs/text").write_text("all work and no play\n" * 3000)
    (source / "docs/gone").write_text("soon removed")
    (source / "docs/deep/er/file").write_text("hi")
    (source / "photos/big").write_bytes(draw.randbytes(2_500_000))
    (source / "photos/small").write_bytes(draw.randbytes(70_000))
    (source / "cache/junk.tmp").write_bytes(draw.randbytes(5000))
    for size, name in enumerate(NAMES):
        (source / "docs" / name).write_bytes(b"x" * (size % 3))
    (source / "docs/link").symlink_to("../photos/big")
    os.link(source / "docs/text", source / "docs/hard")
    (source / "special").mkdir()
    os.mkfifo(source / "special/pipe")
    (source / "docs/x.tar.gz").chmod(0o4755)
    _age(source)


def change(source: Path) -> None:
    """Something new, changed, removed, of another type and with other metadata."""
    draw = random.Random(8)
    (source / "docs/text").write_text("all work and no play\n" * 3001)
    (source / "docs/gone").unlink()
    # restic keeps a pipe's device number, Limpet has no use for it: their folders would not be the same
    (source / "special/pipe").unlink()
    (source / "docs/new").write_bytes(draw.randbytes(3000))
    (source / "photos/small").chmod(0o600)
    (source / "docs/.hidden").unlink()
    (source / "docs/.hidden").symlink_to("plain")
    (source / "added").mkdir()
    (source / "added/photo").write_bytes(draw.randbytes(400_000))
    _age(source)


def _age(source: Path) -> None:
    """Times of files are those of no run."""
    for folder, _, files in os.walk(source, topdown=False):
        for path in [*(os.path.join(folder, name) for name in files), folder]:
            os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)


def create(folder: Path) -> Place:
    """An empty repository whose password costs no time to try."""
    folder.mkdir(parents=True)
    Repository.create(registry.open_backend(str(folder / REPOSITORY)), PASSWORD, kdf=CHEAP).close()
    return Place(folder)


class Maker:
    """Makes repositories in a folder, with restic."""

    def __init__(self, restic: ResticProgram, folder: Path) -> None:
        self._restic = restic
        self.folder = folder
        self.source = folder / "source"

    def history(self) -> Place:
        """Seven snapshots of two hosts, with tags, several paths, excludes; data that no snapshot needs any more."""
        self.source.mkdir()
        fill(self.source)
        place = create(self.folder / "history")
        backup = self._backup
        backup(place, "2024-01-01 10:00:00", "--tag", "one,two", "--host", "h1", "source")
        backup(place, "2024-01-02 11:30:00", "--tag", "one", "--host", "h2", "source/docs")
        backup(place, "2024-02-01 10:00:00", "--host", "h1", "--exclude", "*.tmp", "source")
        change(self.source)
        backup(place, "2024-02-01 18:00:00", "--host", "h1", "source")
        backup(place, "2025-03-05 10:00:00", "--host", "h1", "--tag", "one", "source")
        two = ("source/docs", "source/photos")
        backup(place, "2025-03-06 09:00:00", "--host", "h2", "--compression", "max", *two)
        (self.source / "docs/passing").write_bytes(random.Random(9).randbytes(300_000))
        indexes = set(os.listdir(place.repository / "index"))
        backup(place, "2025-03-06 10:00:00", "--host", "h2", *two)
        (self.source / "docs/passing").unlink()
        (self.source / "photos/small").write_bytes(random.Random(10).randbytes(80_000))
        (place.names["last-index"],) = set(os.listdir(place.repository / "index")) - indexes
        place.names.update(self._names(place))
        return place

    def empty(self) -> Place:
        """No snapshot at all."""
        return create(self.folder / "empty")

    def damaged(self, name: str, history: Place, harm: Callable[[Place], None]) -> Place:
        """A copy of the history with something wrong."""
        place = history.copy(self.folder / name)
        harm(place)
        return place

    def _backup(self, place: Place, when: str, *arguments: str) -> None:
        self._run(place, "backup", "--quiet", "--time", when, *arguments)

    def _names(self, place: Place) -> dict[str, str]:
        snapshots = _snapshot_ids(self._run(place, "snapshots", "--json").out)
        names = {f"s{number}": name for number, name in enumerate(snapshots)}
        packs = [path for path in (place.repository / "data").rglob("*") if path.is_file()]
        names["pack"] = max(packs, key=lambda path: path.stat().st_size).name  # the one with photos/big
        kinds = {"index": "index", "key": "keys"}
        names |= {name: sorted(self._run(place, "list", kind).out.split())[0] for name, kind in kinds.items()}
        blobs = sorted(line.split() for line in self._run(place, "list", "blobs").out.splitlines())
        names["blob"] = blobs[0][1]
        names["tree"] = blobs[-1][1]
        return names

    def _run(self, place: Place, *arguments: str) -> Ended:
        variables = {"RESTIC_REPOSITORY": str(place.repository)}
        command = ["--no-cache", *arguments]
        ended = start(self._restic, command, cwd=self.folder, streams=place.folder, env=variables).finish()
        assert ended.exit_code == 0, ended.err
        return ended


def _snapshot_ids(text: str) -> Sequence[str]:
    import json  # noqa: PLC0415

    return [one["id"] for one in sorted(json.loads(text), key=lambda one: one["time"])]


def remove_first_pack(place: Place) -> None:
    """The pack that `names` knows is gone."""
    _pack(place).unlink()


def flip_in_pack(place: Place) -> None:
    """One byte in the middle of the pack is another."""
    path = _pack(place)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    _overwrite(path, data)


def cut_pack(place: Place) -> None:
    """The pack has lost its end."""
    path = _pack(place)
    _overwrite(path, path.read_bytes()[:-20])


def remove_indexes(place: Place) -> None:
    """All index files are gone."""
    for path in (place.repository / "index").iterdir():
        path.unlink()


def forget_an_index(place: Place) -> None:
    """The snapshot that was made last was never finished: its packs are there, but nothing names them."""
    place.repository.joinpath("snapshots", place.names["s6"]).unlink()
    place.repository.joinpath("index", place.names["last-index"]).unlink()


def damage_index(place: Place) -> None:
    """One index file cannot be decrypted."""
    path = place.repository / "index" / place.names["index"]
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    _overwrite(path, data)


def damage_snapshot(place: Place) -> None:
    """One snapshot file cannot be decrypted."""
    path = place.repository / "snapshots" / place.names["s1"]
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    _overwrite(path, data)


def lock_by_other(place: Place) -> None:
    """Somebody elsewhere works on it alone."""
    with Repository.open(registry.open_backend(str(place.repository)), PASSWORD) as repository:
        lock = LockFile(Time(time.time_ns() - 60_000_000_000), True, "elsewhere", "root", 4711)
        repository.save_unpacked(FileKind.LOCK, encode_lockfile(lock))


def _pack(place: Place) -> Path:
    name = place.names["pack"]
    return place.repository / "data" / name[:2] / name


def _overwrite(path: Path, data: bytes | bytearray) -> None:
    path.chmod(0o600)
    path.write_bytes(data)
