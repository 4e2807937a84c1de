"""Files that are opened without a wait: only regular ones, below their folder and on its file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from limpet.format import _cached_file_py, native

pytestmark = pytest.mark.skipif(not native.IS_NATIVE, reason="the extension is not built: nothing is opened so")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one file that was just written, so everything about it is in memory."""
    folder = tmp_path / "root" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"outside")
    return tmp_path / "root"


def device(path: Path) -> int:
    """Of the file system that the path is on."""
    return path.stat().st_dev


def test_file_in_memory(root: Path) -> None:
    """Each small range of a pack would cost a change of threads, five times the rest."""
    opened = native.open_cached(str(root), device(root), "a/b/file")
    if opened is None:
        pytest.skip("this system has no openat2, or does not let it through")
    descriptor, size_bytes = opened
    try:
        assert (size_bytes, os.pread(descriptor, 20, 0)) == (10, b"0123456789")
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "path", ["a/b", "a/b/missing", "../secret", "a/../../secret", "link", "away/secret", "a/pipe", "", "a/b/file/x"]
)
def test_what_is_no_file_below_the_folder(root: Path, path: str) -> None:
    """Whoever can name a link or a folder above reads what is nobody's business, and who opens a pipe waits."""
    (root / "link").symlink_to(root / "a" / "b" / "file")
    (root / "away").symlink_to("..")
    os.mkfifo(root / "a" / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    assert native.open_cached(str(root), device(root), path) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_other_file_systems() -> None:
    """What is mounted below may hang where the folder does not, and so may what is mounted over it."""
    root = Path("/")
    assert native.open_cached("/", device(root), "proc/self/status") is None
    assert native.open_cached("/proc", device(root), "self/status") is None
    assert native.open_cached("/proc", device(Path("/proc")) + 1, "version") is None


def test_twin_opens_nothing(root: Path) -> None:
    """Without the extension everything has to be waited for."""
    assert _cached_file_py.open_cached(str(root), device(root), "a/b/file") is None
