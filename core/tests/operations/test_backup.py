"""What a backup stores, and what it takes over from its parent without reading or storing anything."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import SourceError, UsageError
from limpet.format.pack import BlobKind
from limpet.format.snapshot import decode_snapshot
from limpet.ids import BlobId
from limpet.progress import ItemEvent, SilentReporter
from limpet.repository.repository import RepositorySettings
from limpet.repository.snapshots import NO_FILTER, SnapshotFilter, find_parent
from limpet.storage.dryrun import DryRunBackend
from limpet.testing.backups import HOST, START_NS, BackupScene

KIB, MIB = 1024, 1024 * 1024


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """An empty folder and an empty repository."""
    return BackupScene(tmp_path / "data")


class Told(SilentReporter):
    """Keeps errors and items."""

    wants_items = True

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.items: dict[str, ItemEvent] = {}

    def error(self, error: Exception, *, during: str, item: str) -> None:
        self.errors.append((item, str(error)))

    def item(self, event: ItemEvent) -> None:
        self.items[event.path] = event


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


class TestUnchanged:
    """Second backups."""

    def test_tree_is_taken_over(self, scene: BackupScene) -> None:
        """A nightly backup of an unchanged disk would store its whole metadata again."""
        for name in ("a", "sub/b", "sub/deep/c"):
            (scene.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (scene.folder / name).write_text(name)
        first = scene.backup()
        again = scene.backup()
        assert again.tree == first.tree
        assert (again.stored.data_blobs, again.stored.tree_blobs, again.stored.added_bytes) == (0, 0, 0)
        assert (again.counts.files_unmodified, again.counts.dirs_new, again.counts.dirs_changed) == (3, 0, 0)
        assert again.counts.bytes_processed == first.counts.bytes_processed
        assert again.snapshot is not None
        assert first.snapshot is not None
        assert again.snapshot.snapshot.parent == first.snapshot.id

    def test_unchanged_files_are_not_opened(self, scene: BackupScene) -> None:
        """Reading every file again would take hours: what cannot be read any more shows whether it was tried."""
        (scene.folder / "small").write_bytes(b"1")
        (scene.folder / "large").write_bytes(some_bytes(2 * MIB))
        scene.backup()
        moved = scene.folder.with_name("moved")

        def hide(path: Path) -> None:
            if path == scene.folder:
                path.rename(moved)

        again = scene.backup(before=hide)
        assert (again.errors, again.counts.files_unmodified) == (0, 2)

    def test_changed_mode_alone(self, scene: BackupScene) -> None:
        """A restored file would get back permissions that were taken away since (restic issue 2249)."""
        (scene.folder / "f").write_text("f")
        (scene.folder / "f").chmod(0o644)
        scene.backup()
        (scene.folder / "f").chmod(0o600)
        again = scene.backup()
        assert scene.nodes(again)["f"].mode == 0o600
        assert again.stored.data_blobs == 0
        assert again.counts.files_changed == 1
        (scene.folder / "f").chmod(0o640)
        again = scene.backup(ignore_ctime=True)
        assert scene.nodes(again)["f"].mode == 0o640
        assert (again.counts.files_unmodified, again.counts.files_changed) == (1, 0)

    def test_folder_with_new_mode(self, scene: BackupScene) -> None:
        """A folder whose entries are as before has metadata of its own."""
        (scene.folder / "sub").mkdir(mode=0o755)
        first = scene.backup()
        (scene.folder / "sub").chmod(0o700)
        again = scene.backup()
        nodes = scene.nodes(first)["sub"], scene.nodes(again)["sub"]
        assert nodes[0].subtree == nodes[1].subtree
        assert nodes[1].mode & 0o777 == 0o700
        assert again.counts.dirs_changed >= 1

    def test_removed_entry(self, scene: BackupScene) -> None:
        """A file deleted since must not live on because all others are unchanged."""
        for name in "abc":
            (scene.folder / name).write_text(name)
        scene.backup()
        (scene.folder / "b").unlink()
        assert sorted(scene.nodes(scene.backup())) == ["a", "c"]

    def test_same_size_and_time_other_content(self, scene: BackupScene) -> None:
        """Programs set times back; the inode or the time of the change tells all the same."""
        file = scene.folder / "f"
        file.write_text("old")
        status = file.stat()
        scene.backup()
        file.write_text("new")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert scene.content(scene.nodes(scene.backup())["f"]) == b"new"

    @pytest.mark.parametrize(
        ("options", "is_read"),
        [({}, True), ({"ignore_ctime": True}, True), ({"ignore_inode": True}, False)],
        ids=["default", "ignore_ctime", "ignore_inode"],
    )
    def test_another_inode(self, scene: BackupScene, options: dict[str, Any], is_read: bool) -> None:
        """On file systems without stable inodes --ignore-inode saves reading everything; elsewhere they count."""
        file = scene.folder / "f"
        file.write_text("old")
        status = file.stat()
        scene.backup()
        other = scene.folder / "other"
        other.write_text("new")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.rename(file)
        assert file.stat().st_ino != status.st_ino
        result = scene.backup(**options)
        assert scene.content(scene.nodes(result)["f"]) == (b"new" if is_read else b"old")

    def test_with_atime(self, scene: BackupScene) -> None:
        """Access times asked for must be there, and those of the parent not be taken over."""
        file = scene.folder / "f"
        file.write_text("f")
        os.utime(file, ns=(5, 7))
        assert scene.nodes(scene.backup())["f"].atime.ns == 7
        assert scene.nodes(scene.backup(with_atime=True))["f"].atime.ns == 5

    def test_skip_if_unchanged(self, scene: BackupScene) -> None:
        """The same snapshot every hour hides the ones that matter."""
        (scene.folder / "f").write_text("f")
        scene.backup()
        again = scene.backup(skip_if_unchanged=True)
        assert again.snapshot is None
        assert len(scene.snapshots()) == 1
        (scene.folder / "g").write_text("g")
        assert scene.backup(skip_if_unchanged=True).snapshot is not None

    def test_parent_of_another_zone(self, scene: BackupScene, monkeypatch: pytest.MonkeyPatch) -> None:
        """After a change of the clock's zone every file would be read again."""
        import time  # noqa: PLC0415  # only here

        (scene.folder / "f").write_text("f")
        for zone in ("America/New_York", "Asia/Tokyo"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            result = scene.backup()
        monkeypatch.undo()
        time.tzset()
        assert (result.counts.files_unmodified, result.stored.data_blobs) == (1, 0)


class TestLostBlobs:
    """The parent's blobs are not in the index any more (restic issue 2571)."""

    def lose(self, scene: BackupScene, kind: BlobKind) -> None:
        """Take every pack of the kind away, and the index that names it: as `repair index` would."""
        repository = scene.open()
        lost = [pack for pack in repository.index.pack_ids() if repository.index.pack_blobs(pack)[0].kind is kind]
        kept = [pack for pack in repository.index.pack_ids() if pack not in lost]
        from limpet.format.indexfile import encode_index  # noqa: PLC0415  # only here

        for name in scene.stored(FileKind.INDEX):
            scene.backend.remove(Handle(FileKind.INDEX, name))
        for pack in lost:
            scene.backend.remove(Handle(FileKind.PACK, pack.hex()))
        repository.save_unpacked(
            FileKind.INDEX, encode_index([(pack, repository.index.pack_blobs(pack)) for pack in kept])
        )

    def test_data_is_stored_again(self, scene: BackupScene) -> None:
        """Snapshots would go on being made that cannot be restored."""
        content = some_bytes(2 * MIB)
        (scene.folder / "large").write_bytes(content)
        (scene.folder / "small").write_bytes(b"small")
        first = scene.backup()
        self.lose(scene, BlobKind.DATA)
        told = Told()
        again = scene.backup(reporter=told)
        assert sorted(item for item, _ in told.errors) == [str(scene.folder / name) for name in ("large", "small")]
        assert "storing the file again" in told.errors[0][1]
        assert again.errors == 2
        assert again.stored.data_blobs == first.stored.data_blobs
        assert scene.content(scene.nodes(again)["large"]) == content
        assert scene.problems() == []

    def test_trees_are_stored_again(self, scene: BackupScene) -> None:
        """A parent whose trees are lost is no parent, and no reason to fail."""
        (scene.folder / "f").write_bytes(b"f")
        first = scene.backup()
        self.lose(scene, BlobKind.TREE)
        again = scene.backup()
        assert again.errors == 1
        assert again.tree == first.tree
        assert again.counts.files_new == 1
        assert again.stored.data_blobs == 0
        assert scene.problems() == []


class TestParent:
    """Which snapshot a backup compares with."""

    def test_never_newer_than_the_backup(self, scene: BackupScene) -> None:
        """A backup dated in the past would take over files from its own future (restic issue 3619)."""
        (scene.folder / "f").write_text("f")
        old = scene.backup(time_ns=START_NS)
        new = scene.backup(time_ns=START_NS + 1000)
        wanted = SnapshotFilter([HOST], (), [str(scene.folder)])
        found = [find_parent(scene.open(), None, wanted, not_after_ns=START_NS + after) for after in (-1, 1, 1000)]
        assert found[0] is None
        assert [stored.id for stored in found[1:] if stored] == [
            result.snapshot.id for result in (old, new) if result.snapshot
        ]

    def test_snapshot_without_a_tree(self, scene: BackupScene) -> None:
        """An interrupted restic of old left snapshots with a null tree, which broke every later backup (issue 3151)."""
        (scene.folder / "f").write_text("f")
        stored = scene.backup().snapshot
        assert stored is not None
        repository = scene.open()
        json = repository.load_unpacked(FileKind.SNAPSHOT, stored.id)
        without = json.replace(b'"tree":"' + stored.snapshot.tree.hex().encode() + b'"', b'"tree":null')  # type: ignore[union-attr]
        assert without != json
        assert decode_snapshot(without).tree is None
        repository.save_unpacked(FileKind.SNAPSHOT, without)
        parents = [found for found in scene.snapshots() if found.snapshot.tree is None]
        result = scene.backup(parent=parents[0])
        assert (result.errors, result.counts.files_new) == (0, 1)
        assert find_parent(scene.open(), None, NO_FILTER) is not None

    def test_entry_was_of_another_kind(self, scene: BackupScene) -> None:
        """A file where a folder was, and the other way round, must not be mixed up with what the parent knows."""
        (scene.folder / "a").mkdir()
        (scene.folder / "a/x").write_text("x")
        (scene.folder / "b").write_text("b")
        scene.backup()
        (scene.folder / "a/x").unlink()
        (scene.folder / "a").rmdir()
        (scene.folder / "b").unlink()
        (scene.folder / "a").write_text("now a file")
        (scene.folder / "b").mkdir()
        (scene.folder / "b/y").write_text("y")
        nodes = scene.nodes(scene.backup())
        assert sorted(nodes) == ["a", "b", "b/y"]
        assert scene.content(nodes["a"]) == b"now a file"


class TestOptions:
    """What else a snapshot may be asked to be."""

    def test_dry_run_stores_nothing(self, scene: BackupScene) -> None:
        """Someone who only looks must not change the repository."""
        (scene.folder / "f").write_bytes(some_bytes(2 * MIB))
        before = dict(scene.backend.inner.files)  # type: ignore[attr-defined]
        repository = scene.open()
        repository.backend = DryRunBackend(repository.backend)
        from limpet.operations.backup import BackupOptions, backup  # noqa: PLC0415  # elsewhere the scene does it

        result = backup(repository, [scene.source()], BackupOptions(HOST, START_NS, dry_run=True))
        assert result.stored.data_blobs >= 1
        assert result.stored.added_bytes > 2 * MIB
        assert scene.backend.inner.files == before  # type: ignore[attr-defined]

    def test_nothing_to_save(self, scene: BackupScene) -> None:
        """A snapshot of nothing would look like a backup."""
        source = scene.source()
        scene.folder.rmdir()
        with pytest.raises(SourceError, match="snapshot is empty"):
            scene.backup(source)
        assert scene.stored(FileKind.SNAPSHOT) == []

    def test_two_sources_at_one_place(self, scene: BackupScene) -> None:
        """One of two files of the same name would silently be missing."""
        (scene.folder / "f").write_text("f")
        with pytest.raises(UsageError, match="two sources deliver"):
            scene.backup(scene.source(), scene.source())

    def test_events(self, scene: BackupScene) -> None:
        """What -vv and --json tell of each item would be wrong, and wrappers count on it."""
        (scene.folder / "f").write_bytes(some_bytes(1000))
        (scene.folder / "sub").mkdir()
        told = Told()
        scene.backup(reporter=told)
        path = f"/{scene.folder.name}"
        file, folder = told.items[f"{path}/f"], told.items[f"{path}/"]
        assert (file.action, file.size_bytes, file.data_size_bytes) == ("new", 1000, 1000)
        assert file.data_stored_bytes > 1000
        assert folder.is_folder
        assert folder.metadata_size_bytes > folder.metadata_stored_bytes > 32
        told = Told()
        scene.backup(reporter=told)
        assert {event.action for event in told.items.values()} == {"unchanged"}

    @pytest.mark.parametrize("version", [1, 2])
    def test_packs_of_the_smallest_size(self, tmp_path: Path, version: int) -> None:
        """Packs end where they should: too large ones cannot be handled by restic, too small ones cost requests."""
        scene = BackupScene(tmp_path / "data", version=version, settings=RepositorySettings(pack_size_bytes=4 * MIB))
        for number in range(24):
            (scene.folder / str(number)).write_bytes(some_bytes(MIB, number))
        scene.backup()
        repository = scene.open()
        sizes = [
            repository.backend.stat(Handle(FileKind.PACK, name)).size_bytes for name in scene.stored(FileKind.PACK)
        ]
        assert max(sizes) < 4 * MIB + 9 * MIB
        assert sum(size >= 4 * MIB for size in sizes) >= 2
        assert scene.problems() == []

    def test_only_what_is_known_is_needed(self, scene: BackupScene) -> None:
        """A blob that the index names is never stored again, whoever stored it."""
        (scene.folder / "f").write_bytes(b"f")
        first = scene.backup()
        again = scene.backup(parent=None)
        assert (again.stored.data_blobs, again.stored.tree_blobs) == (0, 0)
        assert again.tree == first.tree
        assert scene.open().index.contains(BlobKind.TREE, BlobId(first.tree))
