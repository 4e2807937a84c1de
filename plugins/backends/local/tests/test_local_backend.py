"""The local backend against the conformance suite and against what real file systems refuse."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileKind, Handle
from limpet.errors import BackendError, MissingFileError, StorageFullError, UsageError
from limpet.testing.backend import MIB, content_of, handle_of, save_all, some_bytes
from limpet_backend_local import LocalBackend

from tests.services.folder_conformance import FolderConformance, path_below


def path_of(backend: Backend, handle: Handle) -> Path:
    """Where restic keeps this file."""
    assert isinstance(backend, LocalBackend)
    return path_below(Path(backend.root), handle)


class TestLocalBackend(FolderConformance):
    """The backend that most repositories start on."""

    mounted: Path | None = None

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        backend = LocalBackend.open(str(tmp_path / "repository"), {})
        backend.create()
        yield backend
        backend.close()
        if self.mounted is not None:
            subprocess.run(["umount", str(self.mounted)], check=True)

    def root_of(self, backend: Backend) -> Path:
        assert isinstance(backend, LocalBackend)
        return Path(backend.root)

    def open_again(self, backend: Backend) -> Backend:
        assert isinstance(backend, LocalBackend)
        return LocalBackend.open(backend.root, {})

    def open_missing_store(self, backend: Backend) -> Backend:
        assert isinstance(backend, LocalBackend)
        return LocalBackend.open(f"{backend.root} that is not there", {})

    def open_read_only(self, backend: Backend) -> Backend | None:
        """The folder mounted once more and read-only, where this machine lets the test do that."""
        assert isinstance(backend, LocalBackend)
        place = Path(backend.root).with_name("read only")
        place.mkdir()
        if subprocess.run(["mount", "--bind", backend.root, str(place)], check=False).returncode:
            return None
        self.mounted = place
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        return LocalBackend.open(str(place), {})


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    """A created local backend."""
    backend = LocalBackend.open(str(tmp_path / "repository"), {})
    backend.create()
    return backend


def refuse(number: int) -> object:
    """A system call that always fails this way, for file systems that cannot be mounted here."""

    def call(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def temporary_files(backend: LocalBackend) -> list[Path]:
    """What an interrupted save would have left."""
    return [path for path in Path(backend.root).rglob("*") if path.is_file() and "-tmp-" in path.name]


def test_layout_and_modes_are_restics(backend: LocalBackend) -> None:
    """A repository open to other users, or laid out in another way, is not one that restic would have made."""
    root = Path(backend.root)
    folders = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert folders == {"data", "index", "keys", "locks", "snapshots"} | {f"data/{number:02x}" for number in range(256)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]} == {0o700}
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    assert stat.S_IMODE(path_of(backend, handle).stat().st_mode) == 0o400


def test_group_readable_config_opens_new_files_to_the_group(backend: LocalBackend) -> None:
    """A repository shared by a group must stay shared, by restic's rule."""
    backend.save(CONFIG_HANDLE, content_of(b"config"))
    path_of(backend, CONFIG_HANDLE).chmod(0o440)
    shared = LocalBackend.open(backend.root, {})
    (Path(backend.root) / "index").rmdir()
    (handle,) = save_all(shared, FileKind.INDEX, [b"an index"])
    assert stat.S_IMODE(path_of(shared, handle).stat().st_mode) == 0o440
    assert stat.S_IMODE(path_of(shared, handle).parent.stat().st_mode) & 0o700 == 0o700


def test_open_touches_nothing(tmp_path: Path) -> None:
    """Asking for the help of a command must not wait for a sleeping disk, nor make folders."""
    backend = LocalBackend.open(str(tmp_path / "nowhere"), {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MissingFileError):
        backend.stat(CONFIG_HANDLE)


def test_missing_folders_are_made_but_not_the_root(backend: LocalBackend, tmp_path: Path) -> None:
    """A copy may have lost empty folders; a disk that is not mounted must not become an empty repository."""
    data = b"a pack"
    path_of(backend, handle_of(data)).parent.rmdir()
    save_all(backend, FileKind.PACK, [data])
    assert backend.load(handle_of(data)) == data
    gone = LocalBackend.open(str(tmp_path / "not mounted"), {})
    with pytest.raises(BackendError, match="is its disk mounted"):
        gone.save(handle_of(data), content_of(data))
    with pytest.raises(BackendError, match="is its disk mounted"):
        gone.save(CONFIG_HANDLE, content_of(data))
    assert not (tmp_path / "not mounted").exists()


def test_missing_data_folder_lists_as_empty(backend: LocalBackend) -> None:
    """restic repositories unpacked from an archive lack their empty folders."""
    for number in range(256):
        (Path(backend.root) / "data" / f"{number:02x}").rmdir()
    (Path(backend.root) / "data").rmdir()
    assert list(backend.list(FileKind.PACK)) == []
    save_all(backend, FileKind.PACK, [b"a pack"])
    assert len(list(backend.list(FileKind.PACK))) == 1


def test_pack_in_the_wrong_folder_is_not_listed(backend: LocalBackend) -> None:
    """A file that is listed but cannot be loaded makes every later check fail in a confusing way."""
    handle = handle_of(b"a pack")
    wrong = "00" if handle.name[:2] != "00" else "01"
    (Path(backend.root) / "data" / wrong / handle.name).write_bytes(b"a pack")
    assert list(backend.list(FileKind.PACK)) == []


@pytest.mark.parametrize("size", [MIB, 3 * MIB + 4096, 3 * MIB + 4097, 16 * MIB - 1])
def test_page_aligned_buffers(backend: LocalBackend, size: int) -> None:
    """Packs are written past the page cache out of aligned buffers; the last partial page must not get lost."""
    with mmap.mmap(-1, size) as pages:
        pages[:] = some_bytes(size)
        data = bytes(pages)
        with memoryview(pages) as view:
            backend.save(handle_of(data), Content(view, bytes.fromhex(handle_of(data).name)))
    assert path_of(backend, handle_of(data)).read_bytes() == data


def test_short_writes(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel may write less than asked for, at any size and alignment."""
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[: max(1, len(data) // 3)]))
    for size in (10, MIB + 5, 2 * MIB):
        data = some_bytes(size)
        save_all(backend, FileKind.PACK, [data])
        assert path_of(backend, handle_of(data)).read_bytes() == data


def test_file_system_without_direct_writes(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems take the flag and refuse the write; the file has to be written all the same."""
    real_write, real_fcntl, direct = os.write, fcntl.fcntl, set[int]()

    def write(descriptor: int, data: memoryview) -> int:
        if real_fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            direct.add(descriptor)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    data = some_bytes(2 * MIB)
    save_all(backend, FileKind.PACK, [data])
    assert direct
    assert path_of(backend, handle_of(data)).read_bytes() == data


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EINVAL])
def test_fsync_not_supported(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Network file systems without fsync hold repositories too (restic issue 3720)."""
    monkeypatch.setattr(os, "fsync", refuse(number))
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    assert backend.load(handle) == b"a pack"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_chmod_refused(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """exFAT and SMB refuse modes; that must not stop a backup (restic issue 5595)."""
    monkeypatch.setattr(os, "fchmod", refuse(number))
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    assert backend.load(handle) == b"a pack"


@pytest.mark.parametrize(
    ("call", "number", "permanent"),
    [
        ("write", errno.ENOSPC, True),
        ("write", errno.EDQUOT, True),
        ("write", errno.EIO, False),
        ("fsync", errno.EIO, False),
        ("fsync", errno.ENOSPC, True),
        ("replace", errno.EROFS, True),
    ],
)
def test_failing_disk(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, call: str, number: int, permanent: bool
) -> None:
    """A full or broken disk ends in a typed error that says so, with nothing half-written left."""
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse(number))
        with pytest.raises(BackendError, match="cannot save") as caught:
            save_all(backend, FileKind.PACK, [some_bytes(2 * MIB)])
    assert caught.value.permanent is permanent
    assert isinstance(caught.value, StorageFullError) is (number in {errno.ENOSPC, errno.EDQUOT})
    assert os.strerror(number) in str(caught.value)
    assert list(backend.list(FileKind.PACK)) == []
    assert temporary_files(backend) == []


def test_what_is_no_file_is_refused_without_waiting(backend: LocalBackend) -> None:
    """Whoever can write to the storage must not be able to stop a restore for ever with a fifo in a pack's place."""
    handle = Handle(FileKind.PACK, "0" * 64)
    os.mkfifo(path_of(backend, handle))
    with pytest.raises(BackendError, match="no regular file") as refused:
        backend.load(handle, 0, 10)
    assert refused.value.permanent


@pytest.mark.parametrize(("number", "permanent"), [(errno.ESTALE, False), (errno.EIO, True)])
def test_read_errors(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, number: int, permanent: bool) -> None:
    """A read error of a network disk goes away and is tried again; a bad sector does not, and is told at once."""
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    monkeypatch.setattr(os, "pread", refuse(number))
    monkeypatch.setattr(os, "preadv", refuse(number))
    for load in (lambda: backend.load(handle), lambda: backend.load_into(handle, 0, memoryview(bytearray(3)))):
        with pytest.raises(BackendError, match="cannot read") as caught:
            load()
        assert caught.value.permanent is permanent


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_full_disk(tmp_path: Path) -> None:
    """A disk that really is full: told as such at once, what was stored stays readable, space freed is used again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        backend = LocalBackend.open(str(disk / "repository"), {})
        backend.create()
        first, second = some_bytes(2 * MIB, seed=1), some_bytes(3 * MIB, seed=2)
        save_all(backend, FileKind.PACK, [first])
        with pytest.raises(BackendError, match="No space left on device; free some space") as caught:
            save_all(backend, FileKind.PACK, [second])
        assert caught.value.permanent
        assert temporary_files(backend) == []
        assert backend.load(handle_of(first)) == first
        backend.remove(handle_of(first))
        save_all(backend, FileKind.PACK, [second])
        assert backend.load(handle_of(second)) == second
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_file_size_limit(backend: LocalBackend) -> None:
    """A real refusal by the kernel in mid-write: typed, and nothing left."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        with pytest.raises(BackendError, match="cannot save") as caught:
            save_all(backend, FileKind.PACK, [some_bytes(3 * MIB)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.permanent
    assert temporary_files(backend) == []


def test_interrupt_in_mid_save(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in mid-save leaves no temporary file."""

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_all(backend, FileKind.PACK, [b"a pack"])
    assert temporary_files(backend) == []


def test_sweep_removes_what_killed_uploads_left(backend: LocalBackend) -> None:
    """Each killed upload leaves a file that no listing shows: in years they fill the disk."""
    (pack,) = save_all(backend, FileKind.PACK, [b"a pack"])
    root = Path(backend.root)
    ours, restics = f"{'0' * 64}-tmp-0123456789abcdef", f"{'1' * 64}-tmp-1234567890"
    left = [f"data/00/{ours}", f"data/11/{restics}", f"index/{ours}", f"snapshots/{restics}", f"data/{restics}"]
    kept = [f"locks/{ours}", f"keys/{ours}", "index/notes-tmp-1", "data/00/-tmp-", f"{ours}"]
    for path in (*left, *kept):
        (root / path).write_bytes(b"half")
    assert backend.sweep() == len(left)
    assert not any((root / path).exists() for path in left)
    assert all((root / path).exists() for path in kept)
    assert backend.load(pack) == b"a pack"


def test_sweep_of_a_repository_that_is_gone(backend: LocalBackend) -> None:
    """It is somebody else's error to tell."""
    backend.delete()
    assert backend.sweep() == 0


def test_delete_leaves_what_it_does_not_own(backend: LocalBackend, tmp_path: Path) -> None:
    """A mistyped path must not cost somebody's photographs."""
    save_all(backend, FileKind.PACK, [b"a pack"])
    root = Path(backend.root)
    (root / "photos").mkdir()
    for path in ("photos/cat.jpg", "notes.txt", "data/notes.txt", "keys/my-password"):
        (root / path).write_bytes(b"mine")
    (root / "data" / "00" / f"{'0' * 64}-tmp-77").write_bytes(b"left by a crash")
    backend.delete()
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert left == {"photos/cat.jpg", "notes.txt", "data/notes.txt", "keys/my-password"}
    (root / "photos/cat.jpg").unlink()


def test_delete_removes_the_folder_itself(backend: LocalBackend) -> None:
    """An emptied repository folder that stays looks like a broken repository."""
    save_all(backend, FileKind.PACK, [b"a pack"])
    backend.delete()
    assert not Path(backend.root).exists()
    backend.delete()


@pytest.mark.parametrize(("location", "options"), [("", {}), ("a\0b", {}), ("repo", {"connections": 0})])
def test_senseless_settings(location: str, options: dict[str, int]) -> None:
    """A mistake on the command line is told before anything is done."""
    with pytest.raises(UsageError):
        LocalBackend.open(location, options)


def test_location_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means what it meant at the start, also after a change of folder."""
    monkeypatch.chdir(tmp_path)
    backend = LocalBackend.open("repository", {})
    monkeypatch.chdir("/")
    assert backend.location == f"local:{tmp_path / 'repository'}"
    assert backend.location in f"{LocalBackend.open(str(tmp_path / 'repository'), {}).location}"
