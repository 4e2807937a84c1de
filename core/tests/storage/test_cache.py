"""The cache: what it saves in traffic, and everything that can be wrong on its disk."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.progress import SilentReporter
from limpet.storage.cache import Cache, CacheBackend
from limpet.storage.cachefolder import list_caches, remove_old_caches
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend
from limpet.testing.backend import content_of, handle_of, some_bytes

REPOSITORY_ID = "ab" * 32
KINDS = [FileKind.INDEX, FileKind.SNAPSHOT, FileKind.PACK]


class Warnings(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, text: str) -> None:
        self.texts.append(text)


class Setup:
    """A repository's storage, recorded, behind a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = MemoryBackend()
        self.recording = RecordingBackend(self.memory)
        self.backend = self.again()

    def again(self) -> CacheBackend:
        """As the next process sees it."""
        return CacheBackend(self.recording, Cache(self.folder, REPOSITORY_ID))

    def store(self, data: bytes, kind: FileKind = FileKind.INDEX) -> Handle:
        """Store a file without the cache's knowing."""
        handle = cached_handle(data, kind)
        self.memory.save(handle, content_of(data))
        return handle

    def path(self, handle: Handle) -> Path:
        """Where restic's cache has the file."""
        return self.folder / REPOSITORY_ID / handle.kind.value / handle.name[:2] / handle.name


def cached_handle(data: bytes, kind: FileKind) -> Handle:
    """The handle of a file that is cached: of packs only those of trees are."""
    return Handle(kind, handle_of(data).name, is_tree_pack=kind is FileKind.PACK)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """Over an empty cache folder."""
    return Setup(tmp_path / "cache")


@pytest.mark.parametrize("kind", KINDS)
def test_fetched_once(setup: Setup, kind: FileKind) -> None:
    """Without this every `snapshots` command downloads all snapshots and indexes anew."""
    data = some_bytes(50_000)
    handle = setup.store(data, kind)
    assert setup.backend.load(handle, 100, 50) == data[100:150]
    assert setup.backend.load(handle) == data
    assert setup.again().load(handle, 49_000) == data[49_000:]
    assert setup.recording.loaded() == 1
    assert setup.path(handle).read_bytes() == data


@pytest.mark.parametrize("kind", KINDS)
def test_saved_is_cached(setup: Setup, kind: FileKind) -> None:
    """What was just written need not be downloaded by the next run."""
    data = some_bytes(50_000)
    handle = cached_handle(data, kind)
    setup.backend.save(handle, content_of(data))
    assert setup.memory.files[handle] == data
    assert setup.again().load(handle) == data
    assert setup.recording.loaded() == 0


def test_a_save_that_fails_is_not_cached(setup: Setup) -> None:
    """A cached index that is not in the repository makes the next backup rely on data that is not there."""
    setup.recording.fail_after(0, times=1)
    handle = cached_handle(b"an index", FileKind.INDEX)
    with pytest.raises(BackendError):
        setup.backend.save(handle, content_of(b"an index"))
    assert not setup.path(handle).exists()


def test_not_cached(setup: Setup) -> None:
    """Locks and keys must be seen as they are now; packs of file data would fill the disk."""
    for kind in (FileKind.LOCK, FileKind.KEY, FileKind.PACK):
        data = kind.value.encode()
        handle = Handle(kind, handle_of(data).name)
        setup.backend.save(handle, content_of(data))
        assert setup.backend.load(handle) == data
        assert not setup.path(handle).exists()
    assert setup.recording.loaded() == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "replaced", "longer"])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_copy_heals(setup: Setup, kind: FileKind, damage: str) -> None:
    """A power failure leaves anything at all in the cache: it is removed and fetched anew, unseen by the caller."""
    data = some_bytes(50_000)
    handle = setup.store(data, kind)
    setup.backend.load(handle)
    flipped = bytearray(data)
    flipped[25_000] ^= 4
    broken = {
        "cut": data[:30_000],
        "flipped": bytes(flipped),
        "emptied": b"",
        "replaced": some_bytes(50_000, seed=1),
        "longer": data + b"!",
    }
    setup.path(handle).write_bytes(broken[damage])
    for backend in (setup.again(), setup.again()):
        assert backend.load(handle, 24_990, 20) == data[24_990:25_010]
        assert backend.load(handle) == data
    assert setup.recording.loaded() == 2
    assert setup.path(handle).read_bytes() == data


def test_damage_while_in_use(setup: Setup) -> None:
    """A file verified a moment ago and changed since is verified again."""
    data = some_bytes(50_000)
    handle = setup.store(data)
    assert setup.backend.load(handle) == data
    setup.path(handle).write_bytes(some_bytes(49_000))
    assert setup.backend.load(handle) == data


def test_damage_in_the_repository_is_not_hidden_or_kept(setup: Setup) -> None:
    """What is stored damaged comes as it is, and never becomes the cached copy."""
    data = some_bytes(50_000)
    handle = setup.store(data)
    setup.memory.files[handle] = data[:20_000]
    assert setup.backend.load(handle) == data[:20_000]
    assert setup.backend.load(handle, 10, 10) == data[10:20]
    with pytest.raises(BackendError) as caught:
        setup.backend.load(handle, 19_000, 2_000)
    assert caught.value.permanent
    assert not setup.path(handle).exists()


@pytest.mark.parametrize(("offset", "length"), [(0, 101), (100, 1), (101, 0), (101, None), (200, 5)])
@pytest.mark.parametrize("loaded_before", [True, False])
def test_beyond_the_end(setup: Setup, offset: int, length: int | None, loaded_before: bool) -> None:
    """The cache gives the same permanent error as the storage, be the file cached or not."""
    handle = setup.store(some_bytes(100))
    if loaded_before:
        setup.backend.load(handle)
    with pytest.raises(BackendError) as caught:
        setup.backend.load(handle, offset, length)
    assert caught.value.permanent
    assert setup.backend.load(handle, 100) == b""


def test_files_gone_from_the_repository_are_forgotten(setup: Setup) -> None:
    """Otherwise the cache grows for ever, and a removed snapshot goes on being read."""
    handles = [setup.store(b"%d" % number) for number in range(5)]
    for handle in handles:
        setup.backend.load(handle)
    setup.backend.remove(handles[0])
    assert not setup.path(handles[0]).exists()
    del setup.memory.files[handles[1]]
    with pytest.raises(MissingFileError):
        setup.backend.stat(handles[1])
    assert not setup.path(handles[1]).exists()
    del setup.memory.files[handles[2]]
    for _ in setup.backend.list(FileKind.INDEX):
        break
    assert setup.path(handles[2]).exists()
    assert len(list(setup.backend.list(FileKind.INDEX))) == 2
    assert [setup.path(handle).exists() for handle in handles] == [False, False, False, True, True]


def test_a_listing_that_fails_forgets_nothing(setup: Setup) -> None:
    """A storage that is away for a moment must not empty the cache."""
    handle = setup.store(b"an index")
    setup.backend.load(handle)
    setup.recording.fail_after(0, times=1)
    with pytest.raises(BackendError):
        list(setup.backend.list(FileKind.INDEX))
    assert setup.path(handle).exists()


def test_layout_is_restics(setup: Setup) -> None:
    """Backup programs leave out a tagged folder; restic and Limpet can share one."""
    setup.backend.load(setup.store(b"an index"))
    assert (setup.folder / "CACHEDIR.TAG").read_bytes() == b"Signature: 8a477f597d28d172789f06886806bc55\n"
    assert (setup.folder / REPOSITORY_ID / "version").read_bytes() == b"1"
    assert (setup.folder / REPOSITORY_ID).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("obstacle", ["file", "version", "garbage"])
def test_unusable_folder_is_a_warning(tmp_path: Path, obstacle: str) -> None:
    """No cache is slow; a backup that does not run because of its cache is a lost backup."""
    folder = tmp_path / "cache"
    if obstacle == "file":
        folder.write_bytes(b"")
    else:
        (folder / REPOSITORY_ID).mkdir(parents=True)
        (folder / REPOSITORY_ID / "version").write_bytes(b"2" if obstacle == "version" else b"x")
    told = Warnings()
    cache = Cache(folder, REPOSITORY_ID, reporter=told)
    backend = CacheBackend(MemoryBackend(), cache)
    handle = cached_handle(b"an index", FileKind.INDEX)
    backend.save(handle, content_of(b"an index"))
    assert backend.load(handle) == b"an index"
    assert [info.name for info in backend.list(FileKind.INDEX)] == [handle.name]
    backend.remove(handle)
    assert len(told.texts) == 1
    assert "without the cache" in told.texts[0]


def test_folder_that_vanishes(setup: Setup) -> None:
    """Somebody empties ~/.cache in mid-run."""
    handle = setup.store(b"an index")
    setup.backend.load(handle)
    shutil.rmtree(setup.folder)
    assert setup.backend.load(handle) == b"an index"
    assert list(setup.backend.list(FileKind.INDEX))


def test_disk_full(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full cache disk costs speed alone: one warning, and nothing half-written."""

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    told = Warnings()
    backend = CacheBackend(setup.recording, Cache(setup.folder, REPOSITORY_ID, reporter=told))
    monkeypatch.setattr(os, "replace", refuse)
    for data in (b"one", b"two"):
        assert backend.load(setup.store(data)) == data
        backend.save(cached_handle(data, FileKind.INDEX), content_of(data))
    assert len(told.texts) == 1
    assert "No space left" in told.texts[0]
    assert list(setup.folder.rglob("tmp-*")) == []


def test_many_threads_fetch_once(setup: Setup) -> None:
    """Sixteen threads that want one tree pack must not download it sixteen times."""
    data = some_bytes(2_000_000)
    handle = setup.store(data, FileKind.PACK)
    with ThreadPoolExecutor(16) as pool:
        for number, part in enumerate(pool.map(lambda n: setup.backend.load(handle, n * 1000, 1000), range(64))):
            assert part == data[number * 1000 : number * 1000 + 1000]
    assert setup.recording.loaded() == 1


def _use(folder: Path, seed: int) -> None:
    chooser = random.Random(seed)
    files = {cached_handle(data, FileKind.INDEX): data for data in (some_bytes(9_000, seed=n) for n in range(12))}
    memory = MemoryBackend()
    for handle, data in files.items():
        memory.files[handle] = data
    backend: Backend = CacheBackend(memory, Cache(folder, REPOSITORY_ID))
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        handle, data = chooser.choice(list(files.items()))
        action = chooser.randrange(6)
        if action == 0:
            assert isinstance(backend, CacheBackend)
            backend.cache.keep_only(FileKind.INDEX, {handle.name})
        elif action == 1:
            backend.save(handle, content_of(data))
        elif action == 2:
            path = folder / REPOSITORY_ID / "index" / handle.name[:2] / handle.name
            if path.parent.exists():
                path.write_bytes(data[: chooser.randrange(9_000)])
        elif action == 3:
            backend = CacheBackend(memory, Cache(folder, REPOSITORY_ID))
        assert backend.load(handle, 4_000, 5_000) == data[4_000:]


def test_two_processes(tmp_path: Path) -> None:
    """Two backups share one cache: whatever one does to it, the other reads the right bytes (2345, 4760)."""
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_use, args=(tmp_path / "cache", seed)) for seed in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=60)
    assert [child.exitcode for child in children] == [0, 0, 0]


def test_stale_temporary_files_are_swept_out(setup: Setup) -> None:
    """What killed processes leave must not pile up; what a living one is writing must stay."""
    setup.backend.load(setup.store(b"an index"))
    folder = setup.folder / REPOSITORY_ID / "index" / "00"
    folder.mkdir(exist_ok=True)
    for name, age_s in (("tmp-old", 7200), ("tmp-new", 10)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    list(setup.backend.list(FileKind.INDEX))
    assert [path.name for path in setup.folder.rglob("tmp-*")] == ["tmp-new"]


def test_old_caches(tmp_path: Path) -> None:
    """`cache --cleanup` removes caches unused for 30 days, and nothing else in that folder."""
    for name in (REPOSITORY_ID, "cd" * 32, "ef" * 32):
        Cache(tmp_path, name)
    (tmp_path / "photos").mkdir()
    (tmp_path / ("12" * 32)).write_bytes(b"a file")
    for name, days in ((REPOSITORY_ID, 31), ("cd" * 32, 29), ("photos", 99)):
        os.utime(tmp_path / name, (time.time() - days * 86_400,) * 2)
    assert [cache.name for cache in list_caches(tmp_path)] == [REPOSITORY_ID, "cd" * 32, "ef" * 32]
    assert all(cache.size_bytes() == 1 for cache in list_caches(tmp_path))
    Cache(tmp_path, REPOSITORY_ID)
    assert remove_old_caches(tmp_path) == []
    os.utime(tmp_path / REPOSITORY_ID, (time.time() - 31 * 86_400,) * 2)
    assert [cache.name for cache in remove_old_caches(tmp_path)] == [REPOSITORY_ID]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["CACHEDIR.TAG", "photos", "12" * 32, "cd" * 32, "ef" * 32]
    )
    assert list_caches(tmp_path / "nowhere") == []
    assert list_caches(tmp_path / "CACHEDIR.TAG") == []


def test_delete_takes_the_cache_along(setup: Setup) -> None:
    """A deleted repository leaves no copies of its trees on the disk."""
    setup.backend.load(setup.store(b"an index"))
    setup.backend.delete()
    assert not (setup.folder / REPOSITORY_ID).exists()
