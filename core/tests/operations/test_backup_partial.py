"""A source that fails: nothing is saved, or with `allow_partial` all but what it promised."""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import random
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, Self

import pytest
from limpet import registry
from limpet.contracts.backend import FileKind
from limpet.contracts.source import Entry, Folder, MadeStat, ParentInfo, Source, SourceRequest, Target
from limpet.errors import SourceError
from limpet.operations.walk import walk
from limpet.testing.backups import BackupScene

MIB = 1 << 20
MOMENTS = ("begin", "targets", "folders", "later folders", "stream", "finish")


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """A folder with a file, and an empty repository."""
    scene = BackupScene(tmp_path / "data")
    (scene.folder / "kept").write_bytes(b"kept")
    return scene


class Cut(io.BytesIO):
    """A stream of 3 MiB that breaks off, or does not."""

    def __init__(self, breaks: bool) -> None:
        super().__init__(random.Random(3).randbytes(3 * MIB))
        self._breaks = breaks

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As the contract of streams says."""
        count = super().readinto(buffer[:MIB])
        if not count and self._breaks:
            raise SourceError("the connection was lost")
        return count


class Failing(Source):
    """Promises the file `/made/NAME/whole`, and the folder `/made/NAME/folder` with a stream; fails at a moment."""

    contract_version: ClassVar[int] = 1

    def __init__(self, name: str, moment: str = "", *, names: Sequence[str] = ()) -> None:
        self.name = name
        self.moment = moment
        self.place = f"/made/{name}/".encode()
        self.told: list[str] = []
        self.parent: ParentInfo | None = None
        self._names = names

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """Not by name."""
        raise NotImplementedError

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return [f"/made/{self.name}/folder", f"/made/{self.name}/whole"]

    def begin(self, parent: ParentInfo | None) -> None:
        self.parent = parent
        self._fail_at("begin")

    def targets(self) -> Sequence[Target]:
        self._fail_at("targets")
        whole = Entry(b"whole", MadeStat(stat.S_IFREG | 0o600, 0), stream=lambda: Cut(False), made=True)
        folder = Entry(b"folder", MadeStat(stat.S_IFDIR | 0o700, 0), made=True)
        return [Target(self.place + b"folder", folder), Target(self.place + b"whole", whole)]

    def folders(self, target: Target) -> Iterator[Folder]:
        if not stat.S_ISDIR(target.entry.stat.st_mode):
            return
        self._fail_at("folders")
        folder = Entry(b"inner", MadeStat(stat.S_IFDIR | 0o700, 0), made=True)
        yield Folder(target.path, [Entry(b"file", MadeStat(stat.S_IFREG, 0), stream=self._stream, made=True), folder])
        self._fail_at("later folders")
        yield Folder(target.path + b"/inner", [])

    def finish(self) -> None:
        self._fail_at("finish")

    def saved(self, snapshot_id: str) -> None:
        self.told.append(snapshot_id)
        self._fail_at("saved")

    def close(self) -> None:
        return

    def _stream(self) -> BinaryIO:
        return Cut(self.moment == "stream")

    def _fail_at(self, moment: str) -> None:
        if self.moment == moment:
            targets = [posixpath.normpath(f"/made/{self.name}/{name}") for name in self._names]
            raise SourceError(f"lost at {moment}", targets=targets)


def paths(scene: BackupScene) -> list[str]:
    """All below `/made` in the last snapshot, and whether the folder's own file is there."""
    stored = scene.snapshots()[-1]
    assert stored.snapshot.tree is not None
    found = [path.decode() for path, _ in walk(scene.open(), stored.snapshot.tree)]
    return [path for path in found if path.startswith("/made/")] + [path for path in found if path.endswith("/kept")]


GOOD = ["/made/good", "/made/good/folder", "/made/good/folder/file", "/made/good/folder/inner", "/made/good/whole"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_source_that_fails_fails_the_backup(scene: BackupScene, moment: str) -> None:
    """A snapshot with half a dump in it would be taken for a backup, on the day when it is needed."""
    with pytest.raises(SourceError):
        scene.backup(scene.source(), Failing("bad", moment), Failing("good"))
    assert scene.stored(FileKind.SNAPSHOT) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_source_that_fails_can_be_left_out(scene: BackupScene, moment: str) -> None:
    """One database that is down would cost the backup of all else; what is left out is counted, so that all see it."""
    result = scene.backup(scene.source(), Failing("bad", moment), Failing("good"), allow_partial=True)
    assert result.errors == 1
    found = paths(scene)
    # What failed alone is gone, with the folders that led only to it; where a target can be told, the other is kept.
    kept = [] if moment in {"begin", "targets", "finish"} else ["/made/bad", "/made/bad/whole"]
    assert found == [*kept, *GOOD, f"/{scene.folder.name}/kept"]
    assert scene.problems() == []


@pytest.mark.parametrize("moment", ["begin", "finish"])
@pytest.mark.parametrize("named", [["folder"], ["folder/file", "folder/inner"]])
def test_only_the_targets_that_the_error_names_are_left_out(
    scene: BackupScene, moment: str, named: Sequence[str]
) -> None:
    """One database of fifty that failed would cost the dumps of all the others."""
    result = scene.backup(Failing("bad", moment, names=named), allow_partial=True)
    assert (result.errors, paths(scene)) == (1, ["/made/bad", "/made/bad/whole"])


@pytest.mark.parametrize("named", [["whole", "folder/file"], ["whole", "elsewhere"], ["whole", ""]])
def test_what_is_lost_in_part_is_lost(scene: BackupScene, named: Sequence[str]) -> None:
    """Half of a volume would be saved as good, because another target was named beside it."""
    with pytest.raises(SourceError, match="nothing is left"):
        scene.backup(Failing("bad", "finish", names=named), allow_partial=True)


def test_a_folder_above_targets_is_described_by_the_source_that_knows_it(scene: BackupScene) -> None:
    """A private folder came back open to all, because a dump beside the files was put into the snapshot first."""
    scene.folder.chmod(0o700)
    with contextlib.chdir(scene.folder.parent):
        files = registry.source("path").open(SourceRequest([f"{scene.folder.name}/kept"]))
    made = Failing("good")
    made.place = os.fsencode(f"/{scene.folder.name}/")
    for sources in [(made, files), (files, made)]:
        scene.backup(*sources)
        (tree,) = scene.open().load_tree(scene.backup(*sources).tree)
        assert tree.mode & 0o777 == 0o700


def test_nothing_left_is_no_snapshot(scene: BackupScene) -> None:
    """An empty snapshot would be the newest, and `latest` would restore nothing."""
    with pytest.raises(SourceError, match=r"nothing is left|is empty"):
        scene.backup(Failing("bad", "finish"), Failing("worse", "begin"), allow_partial=True)
    assert scene.stored(FileKind.SNAPSHOT) == []


def test_sources_are_told_of_the_parent_and_of_the_snapshot(scene: BackupScene) -> None:
    """A source that knows what changed since a snapshot must know which one, or old data would be taken for new."""
    first, second = Failing("a"), Failing("a")
    one = scene.backup(first).snapshot
    two = scene.backup(second).snapshot
    assert one is not None
    assert two is not None
    assert first.parent is None
    assert second.parent == ParentInfo(one.id.hex(), one.time_ns)
    assert (first.told, second.told) == ([one.id.hex()], [two.id.hex()])


def test_what_a_source_cannot_remember_does_not_fail_the_backup(scene: BackupScene) -> None:
    """The snapshot is in the repository: an error would send somebody looking for one that is missing."""
    source = Failing("a", "saved")
    assert scene.backup(source).snapshot is not None
    assert source.told


def test_a_dry_run_is_not_told_as_saved(scene: BackupScene) -> None:
    """A source would take the next backup's parent to be one that does not exist."""
    source = Failing("a")
    scene.backup(source, dry_run=True)
    assert source.told == []
