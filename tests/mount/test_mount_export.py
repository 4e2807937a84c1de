"""A mount given on over the network: by Samba as a whole, and by what the kernel's NFS server asks of a file system."""

from __future__ import annotations

import ctypes
import os
import random
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mount.mounting import JUDGED, Mounts, forget_names
from tests.services.process import unavailable
from tests.services.samba_server import SambaServer
from tests.trees import IS_ROOT

AT_FDCWD = -100
HANDLE_BYTES = 128
LIBC = ctypes.CDLL(None, use_errno=True)


class FileHandle(ctypes.Structure):
    """`struct file_handle` of name_to_handle_at(2)."""

    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * HANDLE_BYTES),
    )


@pytest.fixture
def source(mounts: Mounts, tmp_path: Path) -> Path:
    """Files in folders, backed up."""
    if not IS_ROOT:
        unavailable("smbd and file handles are for root")
    folder = tmp_path / "source"
    draw = random.Random(9)
    for name, size in (("a/b/small", 100), ("a/b/b/large", 5_000_000), ("empty", 0), ("a/with space", 70_000)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw.randbytes(size))
    (folder / "link").symlink_to("a/b/small")
    mounts.site.run("backup", folder)
    return folder


def test_over_samba(mounts: Mounts, source: Path, tmp_path: Path, closing: ExitStack) -> None:
    """Windows users get at the backups of their server by a share: all is read, and nothing can be written."""
    mount = mounts.start("--allow-other")
    server = SambaServer(tmp_path / "samba", mount.point)
    closing.callback(server.close)
    copy = tmp_path / "copy"
    copy.mkdir()
    inside = f"snapshots/latest/{str(source).lstrip('/')}"
    server.client("recurse ON", "prompt OFF", f'cd "{inside}"', "mget *", folder=copy)
    for path in source.rglob("*"):
        if path.is_file():
            assert (copy / path.relative_to(source)).read_bytes() == path.read_bytes(), path
    assert "small" in server.client(f'ls "{inside}/a/b/*"', folder=copy)
    (copy / "new").write_text("new")
    for command in (f'put new "{inside}/new"', f'rm "{inside}/empty"', 'mkdir "ids/new"'):
        assert "NT_STATUS_MEDIA_WRITE_PROTECTED" in server.client(command, folder=copy, check=False)
    server.close()
    assert mount.end().code == 0


def test_file_handles(mounts: Mounts, source: Path) -> None:
    """An NFS server knows a file by its handle only, long after the kernel has forgotten the name."""
    mount = mounts.start()
    root = mount.point / "snapshots" / "latest" / str(source).lstrip("/")
    handles = {path: handle_of(root / path) for path in ("a/b/small", "a/b/b/large", "a/b", "a/b/b")}
    forget_names()
    mount_fd = os.open(mount.point, os.O_RDONLY)
    try:
        for path, handle in handles.items():
            descriptor = LIBC.open_by_handle_at(mount_fd, ctypes.byref(handle), os.O_RDONLY)
            if descriptor < 0 and JUDGED:
                continue
            assert descriptor >= 0, f"{path}: {os.strerror(ctypes.get_errno())}"
            try:
                assert os.fstat(descriptor).st_ino == (root / path).stat().st_ino
                if (source / path).is_file():
                    assert os.read(descriptor, 1 << 23) == (source / path).read_bytes()
                else:
                    assert sorted(os.listdir(descriptor)) == sorted(os.listdir(source / path))
            finally:
                os.close(descriptor)
    finally:
        os.close(mount_fd)
    assert mount.end().code == 0


def handle_of(path: Path) -> FileHandle:
    """What name_to_handle_at(2) gives for the path."""
    handle, mount_id = FileHandle(HANDLE_BYTES), ctypes.c_int()
    name = ctypes.c_char_p(os.fsencode(path))
    done = LIBC.name_to_handle_at(AT_FDCWD, name, ctypes.byref(handle), ctypes.byref(mount_id), 0)
    assert done == 0, os.strerror(ctypes.get_errno())
    return handle
