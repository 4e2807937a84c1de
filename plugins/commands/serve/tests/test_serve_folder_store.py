"""Repositories in folders: what an upload leaves, where it may go, and what is never replaced."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from pathlib import Path

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, MissingFileError
from limpet_command_serve import beneath
from limpet_command_serve.folder_store import FolderStore
from limpet_command_serve.names import UPLOADS, StoredFile
from limpet_command_serve.store import Outcome, Reading

from tests.services.waiting import wait_for

DATA = b"some content" * 1000
ID = hashlib.sha256(DATA).hexdigest()
PACK = StoredFile(("host",), FileKind.PACK, ID)
CONFIG = StoredFile(("host",), FileKind.CONFIG)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store with one repository."""
    store = FolderStore(str(tmp_path / "root"))
    store.create(("host",))
    return store


def save(store: FolderStore, file: StoredFile, data: bytes = DATA) -> Outcome:
    """Upload in two pieces."""
    with store.begin(file, len(data)) as upload:
        upload.write(memoryview(data)[:5])
        upload.write(memoryview(data)[5:])
        return upload.commit()


def files(folder: str) -> list[str]:
    """All files below the folder."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


def test_an_upload_is_seen_when_it_is_whole(store: FolderStore) -> None:
    """A client that lists or reads meanwhile would take half a pack for a whole one."""
    with store.begin(PACK, None) as upload:
        upload.write(memoryview(DATA))
        assert [*store.list(("host",), FileKind.PACK)] == []
        with pytest.raises(MissingFileError):
            store.stat(PACK)
        assert upload.commit() is Outcome.STORED
    assert [(info.name, info.size_bytes) for info in store.list(("host",), FileKind.PACK)] == [(ID, len(DATA))]
    assert files(store.root) == [f"host/data/{ID[:2]}/{ID}"]


def test_an_upload_without_commit_leaves_nothing(store: FolderStore) -> None:
    """Broken uploads would fill the disk over the years."""
    with store.begin(PACK, None) as upload:
        upload.write(memoryview(DATA))
    assert files(store.root) == []


def test_what_is_in_memory_is_at_hand(store: FolderStore) -> None:
    """Small ranges of packs go out without a thread; it must be the same bytes, and a link must not be followed."""
    save(store, PACK)
    assert store.open_cached(PACK) is None  # not before it is known what kind of file system that is
    store.open(PACK).close()
    reading = store.open_cached(PACK)
    if reading is None:
        pytest.skip("this file system or kernel cannot read without waiting")
    with reading:
        buffer = memoryview(bytearray(100))
        assert reading.read_cached(50, buffer)
        assert (reading.size_bytes, bytes(buffer)) == (len(DATA), DATA[50:150])
        assert not reading.read_cached(len(DATA) - 50, buffer)
    assert store.open_cached(CONFIG) is None
    place = Path(store.root, "host", "config")
    place.symlink_to(Path(store.root, "host", "data", ID[:2], ID))
    assert store.open_cached(CONFIG) is None


@pytest.mark.parametrize("file", [PACK, CONFIG], ids=str)
def test_what_is_stored_is_never_replaced(store: FolderStore, file: StoredFile) -> None:
    """Whoever can upload could otherwise destroy what is there."""
    assert save(store, file) is Outcome.STORED
    assert save(store, file) is Outcome.SAME
    for other in (DATA + b"x", DATA[:-1], b"", b"X" + DATA[1:]):
        assert save(store, file, other) is Outcome.OTHER
    with store.open(file) as reading:
        buffer = memoryview(bytearray(len(DATA) + 1))
        assert bytes(buffer[: reading.read_into(0, buffer)]) == DATA


def test_two_uploads_of_one_name(store: FolderStore) -> None:
    """The second one meets the first though it began when nothing was there: neither replaces the other."""
    with store.begin(CONFIG, None) as one, store.begin(CONFIG, None) as same, store.begin(CONFIG, None) as other:
        for upload, data in ((one, DATA), (same, DATA), (other, DATA[::-1])):
            upload.write(memoryview(data))
        outcomes = [upload.commit() for upload in (one, same, other)]
    assert outcomes == [Outcome.STORED, Outcome.SAME, Outcome.OTHER]
    assert files(store.root) == ["host/config"]


class RemovedMeanwhile(FolderStore):
    """Once a file is removed in the moment in which it is opened."""

    removes = True

    def open(self, file: StoredFile) -> Reading:
        if self.removes and self.stat(file):
            self.removes = False
            self.remove(file)
        return super().open(file)


def test_an_upload_beside_another_one_that_is_removed(store: FolderStore) -> None:
    """Whose file was there a moment ago, and is not, has room for his own: nothing has failed."""
    with RemovedMeanwhile(store.root).begin(PACK, None) as upload:
        upload.write(memoryview(DATA))
        assert save(store, PACK) is Outcome.STORED
        assert upload.commit() is Outcome.STORED
    assert files(store.root) == [f"host/data/{ID[:2]}/{ID}"]


def test_what_is_there_is_durable_with_its_folders(store: FolderStore) -> None:
    """A client who hears that his file is there already removes his own: a crash must not take what nobody synced."""
    save(store, PACK)
    outcomes: list[Outcome] = []
    again = threading.Thread(target=lambda: outcomes.append(save(store, PACK)))
    with store.making:  # somebody makes a folder
        again.start()
        again.join(0.1)
        assert not outcomes
    again.join(10)
    assert outcomes == [Outcome.SAME]


def test_links_below_the_root_are_not_followed(store: FolderStore, tmp_path: Path) -> None:
    """Who may plant a link, as a member of the group may, would read and write anywhere by it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config").write_bytes(b"secret")
    root = Path(store.root)
    (root / "linked").symlink_to(outside)
    (root / "host" / "config").symlink_to(outside / "config")
    (root / "host" / "keys").rmdir()
    (root / "host" / "keys").symlink_to(outside)
    key = StoredFile(("host",), FileKind.KEY, ID)
    for file in (StoredFile(("linked",), FileKind.CONFIG), CONFIG, key):
        with pytest.raises(MissingFileError):
            store.open(file)
        with pytest.raises(MissingFileError):
            store.stat(file)
        with pytest.raises(MissingFileError):
            store.remove(file)
        with pytest.raises(BackendError):
            save(store, file)
    with pytest.raises(MissingFileError):
        list(store.list(("host",), FileKind.KEY))
    assert files(str(outside)) == ["config"]
    assert (outside / "config").read_bytes() == b"secret"


def test_sweep_takes_what_dead_uploads_left(store: FolderStore) -> None:
    """A killed server cannot clean up after itself; the next one does, and touches nothing else."""
    store.create(("a", "b"))
    save(store, PACK)
    for folders in ((), ("host",), ("a", "b")):
        uploads = Path(store.root, *folders, UPLOADS)
        uploads.mkdir(exist_ok=True)
        (uploads / "left").write_bytes(DATA)
    assert store.sweep() == 3
    assert files(store.root) == [f"host/data/{ID[:2]}/{ID}"]


def test_sweep_spares_a_server_beside_it(store: FolderStore) -> None:
    """A server that still drains while its successor starts must not lose what it is about to store."""
    with store.begin(PACK, None) as upload:
        upload.write(memoryview(DATA))
        FolderStore(store.root).sweep()
        assert upload.commit() is Outcome.STORED
    assert files(store.root) == [f"host/data/{ID[:2]}/{ID}"]


def test_two_servers_give_a_name_once(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one folder share no lock: the file that is there must stay, whoever looked before it came."""
    other = FolderStore(store.root)
    for has_links in (True, False):
        file = StoredFile(("host",), FileKind.INDEX, f"{has_links:064x}")
        with store.begin(file, None) as late, other.begin(file, None) as early:
            late.write(memoryview(b"late"))
            early.write(memoryview(b"early"))
            assert early.commit() is Outcome.STORED
            if has_links:  # as if it had looked a moment before
                monkeypatch.setattr("limpet_command_serve.folder_store.is_there", lambda name, folder: False)
            else:
                monkeypatch.undo()
                monkeypatch.setattr(os, "link", _unlinkable)
            assert late.commit() is Outcome.OTHER
        with other.open(file) as reading:
            buffer = memoryview(bytearray(9))
            assert bytes(buffer[: reading.read_into(0, buffer)]) == b"early"


def _unlinkable(*_names: str, **_options: object) -> None:
    raise PermissionError(errno.EPERM, "what file systems answer that have no hard links")


def test_sweep_takes_no_file_that_is_just_made(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that starts between the making of a file and its lock would take it away under the upload."""
    flock, swept = fcntl.flock, list[int]()

    def sweep_first(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_SH and not swept:
            swept.append(FolderStore(store.root).sweep())
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    assert save(store, PACK) is Outcome.STORED
    assert swept == [1]
    assert files(store.root) == [f"host/data/{ID[:2]}/{ID}"]


def test_sweep_where_there_are_no_locks(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can tell whose a file is, only what stood still for a day goes."""

    def no_locks(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with store.begin(PACK, None) as upload:
        upload.write(memoryview(DATA))
        (old,) = Path(store.root, "host", UPLOADS).iterdir()
        assert store.sweep() == 0
        os.utime(old, (0, 0))
        assert store.sweep() == 1


def test_an_upload_is_durable_before_it_is_told(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure a file that a client was told of must be there: content, name, and every new folder."""
    steps: list[str] = []

    def place(descriptor: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), store.root).split(f"{UPLOADS}/")[0]

    real = {name: getattr(os, name) for name in ("fsync", "link", "mkdir")}

    def fsync(descriptor: int) -> None:
        steps.append(f"sync {place(descriptor)}")
        real["fsync"](descriptor)

    def link(name: str, new: str, **given: int) -> None:
        steps.append("name")
        real["link"](name, new, **given)

    def mkdir(name: str, *mode: int, dir_fd: int) -> None:
        steps.append(f"make {os.path.join(place(dir_fd), name)}")
        real["mkdir"](name, *mode, dir_fd=dir_fd)

    for wrapped in (fsync, link, mkdir):
        monkeypatch.setattr(os, wrapped.__name__, wrapped)
    with store.begin(StoredFile(("new",), FileKind.LOCK, ID), None) as upload:
        upload.write(memoryview(DATA))
        assert upload.commit() is Outcome.STORED
    assert steps == [
        "make ./new",
        "sync .",
        f"make new/{UPLOADS}",
        "sync new",
        "make ./new",
        "sync .",
        "make new/locks",
        "sync new",
        "sync new/",
        "name",
        "sync new/locks",
    ]


def test_a_folder_that_another_upload_has_just_made(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who finds the folder must not be told of success before the one who made it has made it durable."""
    made, go_on, told = threading.Event(), threading.Event(), threading.Event()
    sync = beneath.sync_folder

    def slow_sync(descriptor: int) -> None:
        if threading.current_thread().name == "maker" and os.path.exists(os.path.join(store.root, "new", "locks")):
            made.set()
            assert go_on.wait(10)
        sync(descriptor)

    monkeypatch.setattr(beneath, "sync_folder", slow_sync)

    def upload(name: str) -> None:
        assert save(store, StoredFile(("new",), FileKind.LOCK, name * 64)) is Outcome.STORED

    def find() -> None:
        upload("b")
        told.set()

    maker = threading.Thread(target=upload, args=("a",), name="maker")
    maker.start()
    assert made.wait(10)
    finder = threading.Thread(target=find)
    finder.start()
    path = Path(store.root, "new", "locks", "b" * 64)
    wait_for(path.exists, "the name of the second upload")
    assert not told.wait(0.2)
    go_on.set()
    maker.join(10)
    finder.join(10)
    assert told.is_set()


def test_missing_folders_are_made_but_never_the_root(store: FolderStore, tmp_path: Path) -> None:
    """A repository on a disk that is not mounted must not begin anew below the mount point's parent."""
    assert save(store, StoredFile(("new", "one"), FileKind.LOCK, ID)) is Outcome.STORED
    away = FolderStore(str(tmp_path / "away"))
    with pytest.raises(BackendError):
        save(away, PACK)
    assert not os.path.lexists(tmp_path / "away")


def test_modes(tmp_path: Path) -> None:
    """Others on the machine must not read repositories; with the option the group may, as with rest-server."""
    before = os.umask(0o007)
    try:
        for name, for_group, modes in (("own", False, (0o700, 0o600)), ("group", True, (0o770, 0o660))):
            store = FolderStore(str(tmp_path / name), for_group=for_group)
            store.create(("host",))
            save(store, PACK)
            path = Path(store.root, "host", "data", ID[:2], ID)
            assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == modes
    finally:
        os.umask(before)


def test_listing_shows_files_with_ids_only(store: FolderStore) -> None:
    """Strays in the folders would make clients ask for files that are none."""
    save(store, PACK)
    data = Path(store.root, "host", "data")
    (data / ID[:2] / f"{ID}.rest-server-temp1").write_bytes(b"")
    (data / "ff" / ID).write_bytes(b"")
    (data / ID[:2] / ("a" * 64)).mkdir()
    (data / ID).write_bytes(b"")
    assert [info.name for info in store.list(("host",), FileKind.PACK)] == [ID]
