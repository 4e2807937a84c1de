"""What no snapshot refers to any more is found again, and the format of a repository is moved on."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from limpet import migrate, recover
from limpet.contracts.backend import CONFIG_HANDLE, BackendProperties, Content, FileKind, Handle
from limpet.errors import BackendError, IntegrityError, RepositoryError, UsageError
from limpet.format import Buffer
from limpet.format.crypto import Box
from limpet.ids import BlobId
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.operations.migrate import UpgradeToVersion2
from limpet.operations.origin import Origin
from limpet.operations.recover import save_roots
from limpet.operations.walk import walk
from limpet.repository.repository import Repository
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import CrashError, Operation, RecordingBackend
from limpet.testing.backups import PASSWORD, BackupScene, cheap_kdf
from limpet.testing.handmade import Handmade


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """Two snapshots; the first has a file that the second has not."""
    scene = BackupScene(tmp_path / "work")
    (scene.folder / "sub").mkdir()
    (scene.folder / "sub/first").write_text("first")
    scene.backup()
    (scene.folder / "sub/first").rename(scene.folder / "sub/second")
    scene.backup()
    return scene


def forget(scene: BackupScene, number: int) -> None:
    """Remove a snapshot."""
    scene.open().remove_unpacked(FileKind.SNAPSHOT, scene.snapshots()[number].id)


def test_a_removed_snapshot_comes_back(scene: BackupScene) -> None:
    """Who has forgotten the wrong snapshot gets its files back, as long as nothing was pruned."""
    name = scene.folder.name
    tree = scene.snapshots()[0].snapshot.tree
    assert tree is not None
    forget(scene, 0)
    recovered = recover(scene.open())
    assert recovered is not None
    assert (recovered.snapshot.paths, recovered.snapshot.tags) == (["/recover"], ["recovered"])
    root = recovered.snapshot.tree
    assert root is not None
    paths = [path.decode() for path, _ in walk(scene.open(), root)]
    above = f"/{tree.hex()[:8]}"
    assert paths == [above, f"{above}/{name}", f"{above}/{name}/sub", f"{above}/{name}/sub/first"]
    assert scene.problems() == []
    assert recover(scene.open()) is None


def test_nothing_to_recover(scene: BackupScene) -> None:
    """A snapshot of nothing would only confuse."""
    before = scene.stored(FileKind.SNAPSHOT)
    assert recover(scene.open()) is None
    assert scene.stored(FileKind.SNAPSHOT) == before


def test_roots_of_the_same_first_digits(handmade: Handmade) -> None:
    """Two folders of one name would be a tree that nobody can read."""
    tree = handmade.tree()
    twin = BlobId(tree[:4] + bytes(28))
    stored = save_roots(handmade.repository, [tree, twin], Origin("h", "u", 0, 0, 0))
    root = stored.snapshot.tree
    assert root is not None
    names = [node.name.decode() for node in handmade.repository.load_tree(root)]
    assert sorted(names) == sorted([twin.hex()[:8], tree.hex()])


# -- migrations ------------------------------------------------------------------------------------------------------


class NoReplace(MemoryBackend):
    """A storage that cannot replace a file in one step."""

    def __init__(self) -> None:
        super().__init__()
        self.properties = BackendProperties(atomic_replace=False)


class _Flipping(Box):
    """Seals as in memory that flips a bit."""

    def seal_into(self, plaintext: Buffer, out: memoryview) -> int:
        """The bytes written, one of which is wrong."""
        size = super().seal_into(plaintext, out)
        out[size // 2] ^= 1
        return size


@pytest.fixture(params=[MemoryBackend, NoReplace])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordingBackend:
    """A repository of version 1 on both kinds of storage."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    backend = RecordingBackend(request.param())
    Repository.create(backend, PASSWORD, version=1, kdf=cheap_kdf()).close()
    return backend


def test_version_2(old: RecordingBackend, tmp_path: Path) -> None:
    """Compression for repositories of before; all else of the config stays, and no copy of it lies around."""
    before = Repository.open(old, PASSWORD)
    migrate(before)
    after = Repository.open(old, PASSWORD)
    assert after.config.version == 2
    assert (after.config.id, after.config.chunker_polynomial) == (before.config.id, before.config.chunker_polynomial)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RepositoryError, match="repository has version 2, only upgrades from version 1"):
        migrate(after)
    with pytest.raises(UsageError, match="unknown migration"):
        migrate(after, "upgrade_repo_v9")
    assert not check(after, CheckOptions(EveryPack())).errors


def test_a_config_that_cannot_be_stored_is_put_back(old: RecordingBackend, tmp_path: Path) -> None:
    """Without its config nobody can open a repository: a failure must not cost it."""
    repository = Repository.open(old, PASSWORD)
    old.fail_after(1, times=1, operations=[Operation.SAVE])  # the lock passes
    with pytest.raises(RepositoryError, match="re-uploaded old config was successful"):
        migrate(repository)
    assert Repository.open(old, PASSWORD).config.version == 1


def test_a_config_that_is_sealed_wrong_is_not_stored(
    old: RecordingBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit that memory flips on the way would lock everybody out, for good once the copy is removed."""
    repository = Repository.open(old, PASSWORD)
    original = old.load(CONFIG_HANDLE)
    monkeypatch.setattr(repository.opener(), "box", _Flipping(repository.key))
    with pytest.raises(IntegrityError, match="does not match its authentication tag"):
        UpgradeToVersion2().apply(repository)
    assert old.load(CONFIG_HANDLE) == original
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_lost_can_be_put_back_by_hand(old: RecordingBackend, tmp_path: Path) -> None:
    """Where the storage fails for good, the message names the file that saves the repository."""
    repository = Repository.open(old, PASSWORD)
    original = old.load(CONFIG_HANDLE)
    old.fail_after(1, operations=[Operation.SAVE], error=BackendError("refused", permanent=True))
    with pytest.raises(RepositoryError, match="re-uploading old config failed as well") as caught:
        migrate(repository)
    copy = Path(str(caught.value).rpartition(" in ")[2])
    assert copy.read_bytes() == original
    assert copy.stat().st_mode & 0o077 == 0 or copy.parent.stat().st_mode & 0o077 == 0


def test_a_killed_migration_leaves_the_copy(old: RecordingBackend, tmp_path: Path) -> None:
    """At every point the config is stored, or a copy of it is in the folder for temporary files."""
    original = old.load(CONFIG_HANDLE)
    for count in range(1, 5):
        backend = RecordingBackend(type(old.inner)())
        for kind in (FileKind.CONFIG, FileKind.KEY):
            names = [""] if kind is FileKind.CONFIG else [info.name for info in old.list(kind)]
            for name in names:
                data = old.load(Handle(kind, name))
                backend.save(Handle(kind, name), Content(memoryview(data), sha256(data).digest()))
        repository = Repository.open(backend, PASSWORD)
        backend.stop_after(count)
        try:
            migrate(repository)
        except CrashError:
            backend.heal()
            stored = [handle for handle in [CONFIG_HANDLE] if _is_stored(backend, handle)]
            assert stored or any(path.read_bytes() == original for path in tmp_path.rglob("config"))


def _is_stored(backend: RecordingBackend, handle: Handle) -> bool:
    try:
        backend.stat(handle)
    except BackendError:
        return False
    return True
