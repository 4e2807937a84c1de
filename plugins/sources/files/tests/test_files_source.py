"""The files source: the conformance suite, targets of every form, real trees of every kind."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Folder, Selection, Source, SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.testing.source import SourceConformance, all_folders, open_descriptors
from limpet_source_files import FilesSource

from plugins.sources.files.tests.trees import Listener, below, delivered, make


class TestConformance(SourceConformance):
    """The contract's own suite on a small tree of every kind."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Iterator[Source]:
        make(tmp_path, "in/a/one", "in/a/two", "in/a.b/three", "in/a-b", "in/empty/", "alone")
        (tmp_path / "in/link").symlink_to("nowhere")
        os.mkfifo(tmp_path / "in/fifo")
        (tmp_path / os.fsdecode(b"in/\xff\xfe")).write_bytes(b"")
        source = FilesSource.open(SourceRequest([str(tmp_path / "in"), str(tmp_path / "alone")]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self, tmp_path: Path) -> SourceRequest:
        return SourceRequest([str(tmp_path / "missing")])


class TestTargets:
    """Where arguments end up in the snapshot."""

    def test_absolute_and_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file restored to another place than restic would use is not found again."""
        make(tmp_path, "work/here/file", "work/other", "top")
        monkeypatch.chdir(tmp_path / "work")
        assert delivered("here/file") == {"/here/file"}
        assert delivered("./here//", "here", "here/.") == {"/here", "/here/file"}
        assert delivered("../top", "other") == {"/top", "/other"}
        assert delivered(tmp_path / "top") == {str(tmp_path / "top")}
        assert delivered("here/../other") == {"/other"}

    def test_current_and_parent_folder_give_their_entries(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`backup .` is the most common call of all."""
        make(tmp_path, "work/a/file", "work/b", "top")
        monkeypatch.chdir(tmp_path / "work")
        assert delivered(".") == {"/a", "/a/file", "/b"}
        assert delivered("..") == {"/work", "/work/a", "/work/a/file", "/work/b", "/top"}
        assert delivered(".", "../top") == {"/a", "/a/file", "/b", "/top"}

    def test_same_name_from_two_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two folders of one name must both be in the snapshot."""
        make(tmp_path, "work/data/here", "data/there", "work/sub/data/deep", "work/note", "note")
        monkeypatch.chdir(tmp_path / "work/sub")
        (tmp_path / "note").write_bytes(b"other")
        found = delivered("data", "../data", "../../data")
        assert found == {"/data", "/data/deep", "/data-1", "/data-1/here", "/data-2", "/data-2/there"}
        source = FilesSource.open(SourceRequest(["../note", "../../note"]))
        first, second = source.targets()
        assert (first.path, second.path) == (b"/note", b"/note-1")
        assert second.entry.stream is not None
        with second.entry.stream() as stream:
            assert stream.read() == b"other"

    def test_renamed_folder_opens_where_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The core would look for `data-1` in the file system."""
        make(tmp_path, "work/data/here", "data/there")
        monkeypatch.chdir(tmp_path / "work")
        source = FilesSource.open(SourceRequest(["data", "../data"]))
        renamed = source.targets()[1]
        assert renamed.entry.subfolder_path == os.fsencode(tmp_path / "data")
        assert [folder.open_path for folder in source.folders(renamed)] == [os.fsencode(tmp_path / "data")]

    def test_target_inside_a_target(self, tmp_path: Path) -> None:
        """Named once inside another target, a file is still there only once, and excludes spare it."""
        make(tmp_path, "a/b/c.log", "a/b/d.log", "a/e.log", "a/f")
        found = delivered(tmp_path / "a", tmp_path / "a/b/c.log", selection=Selection(exclude=["*.log"]))
        assert below(tmp_path / "a", found) == {"b/c.log", "f"}

    def test_folders_above_targets(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Folders above a target get their own mode and owner back in a restore."""
        make(tmp_path, "a/b/c", "work/")
        (tmp_path / "a").chmod(0o701)
        monkeypatch.chdir(tmp_path / "work")
        source = FilesSource.open(SourceRequest(["../a/b", str(tmp_path / "a/b")]))
        for place in (b"/a", os.fsencode(tmp_path / "a")):
            status = source.folder_stat(place)
            assert status is not None
            assert stat.S_IMODE(status.st_mode) == 0o701
            assert source.folder_path(place) == os.fsencode(tmp_path / "a")
        assert source.folder_stat(b"/nowhere") is None

    def test_symlinked_working_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Paths are recorded as the user sees them, as restic does: a parent is found by them."""
        make(tmp_path, "real/data/file", "real/data/skip")
        (tmp_path / "link").symlink_to("real")
        monkeypatch.chdir(tmp_path / "link")
        monkeypatch.setenv("PWD", str(tmp_path / "link"))
        selection = Selection(exclude=[f"{tmp_path}/link/data/skip"])
        source = FilesSource.open(SourceRequest(["data"], selection=selection))
        assert source.snapshot_paths == [str(tmp_path / "link/data")]
        (folder,) = all_folders(source)
        assert [entry.name for entry in folder.entries] == [b"file"]

    def test_missing_targets(self, tmp_path: Path) -> None:
        """One mistyped path must not stop the backup of the others, nor go unnoticed; nothing at all must."""
        make(tmp_path, "there")
        listener = Listener()
        assert delivered(tmp_path / "there", tmp_path / "gone", listener=listener) == {str(tmp_path / "there")}
        assert listener.warnings == [f"{tmp_path / 'gone'} does not exist, skipping"]
        assert FilesSource.open(SourceRequest([str(tmp_path / "there"), str(tmp_path / "gone")])).error_count == 1
        with pytest.raises(SourceError, match="do not exist"):
            FilesSource.open(SourceRequest([str(tmp_path / "gone"), ""]))
        with pytest.raises(UsageError, match="nothing to backup"):
            FilesSource.open(SourceRequest([]))

    def test_nothing_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty snapshot hides that the patterns were wrong."""
        make(tmp_path, "empty/", "full/x")
        monkeypatch.chdir(tmp_path / "empty")
        with pytest.raises(SourceError, match="snapshot is empty"):
            delivered(".")
        monkeypatch.chdir(tmp_path / "full")
        with pytest.raises(SourceError, match="snapshot is empty"):
            delivered(".", "..", selection=Selection(exclude=["*"]))


class TestWalk:
    """Reading folders."""

    def test_folder_of_many_entries(self, tmp_path: Path) -> None:
        """Mail folders and caches have this many."""
        make(tmp_path, "many/", "0", "1")
        many = tmp_path / "many"
        fd = os.open(many, os.O_RDONLY)
        for number in range(100_000):  # links are made faster than files; a file has 65,000 at most
            os.link(tmp_path / str(number % 2), str(number), dst_dir_fd=fd)
        os.close(fd)
        source = FilesSource.open(SourceRequest([str(many)]))
        (folder,) = all_folders(source)
        names = [entry.name for entry in folder.entries]
        assert len(names) == 100_000
        assert names == sorted(names)
        assert source.scan() == (len(names), len(names))

    @pytest.fixture
    def deep(self, tmp_path: Path) -> Iterator[Path]:
        """A folder that pytest, which recurses, need not remove."""
        folder = tmp_path / "deep"
        folder.mkdir()
        yield folder
        subprocess.run(["rm", "-rf", folder], check=True)

    def test_paths_of_six_thousand_bytes(self, deep: Path) -> None:
        """Deep trees are real, and neither PATH_MAX nor the recursion limit may lose them."""
        fd = os.open(deep, os.O_RDONLY)
        for _ in range(sys.getrecursionlimit() + 500):
            os.mkdir(b"abcd", dir_fd=fd)
            inner = os.open(b"abcd", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = inner
        os.close(os.open(b"leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        folders = list(all_folders(FilesSource.open(SourceRequest([str(deep)]))))
        assert len(folders) == sys.getrecursionlimit() + 501
        assert [entry.name for entry in folders[-1].entries] == [b"leaf"]
        assert folders[-1].open_path is not None
        assert len(folders[-1].open_path) > 6000

    def test_every_kind_of_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is no regular file is part of a system too."""
        make(tmp_path, "file", "folder/")
        (tmp_path / "link").symlink_to("folder")
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as listening:
            monkeypatch.chdir(tmp_path)
            listening.bind("socket")
            (folder, _inner) = all_folders(FilesSource.open(SourceRequest([str(tmp_path)])))
        kinds = {entry.name: stat.S_IFMT(entry.stat.st_mode) for entry in folder.entries}
        assert kinds == {
            b"file": stat.S_IFREG,
            b"folder": stat.S_IFDIR,
            b"link": stat.S_IFLNK,
            b"fifo": stat.S_IFIFO,
            b"socket": stat.S_IFSOCK,
        }

    def test_names_sorted_as_bytes(self, tmp_path: Path) -> None:
        """A tree sorted as text has another id, and restic calls it damaged."""
        names = [b"a", b"B", b"a.b", b"a b", "\u00e9".encode(), b"\xff", "\U0001f600".encode(), "\uffee".encode()]
        for name in names:
            (tmp_path / os.fsdecode(name)).touch()
        (folder,) = all_folders(FilesSource.open(SourceRequest([str(tmp_path)])))
        assert [entry.name for entry in folder.entries] == sorted(names)

    def test_depth_first_with_folders_in_order(self, tmp_path: Path) -> None:
        """Folders must be done early, or a large tree would be held in memory as a whole."""
        make(tmp_path, "b/c/x", "b/d/", "a/", "b.c/")
        found = [folder.path for folder in all_folders(FilesSource.open(SourceRequest([str(tmp_path)])))]
        root = os.fsencode(tmp_path)
        assert found == [root + end for end in (b"", b"/a", b"/b", b"/b/c", b"/b/d", b"/b.c")]

    def test_folder_that_vanishes(self, tmp_path: Path) -> None:
        """A folder removed during the backup must not end it."""
        make(tmp_path, "a/x", "b/x", "c/x")
        listener = Listener()
        source = FilesSource.open(SourceRequest([str(tmp_path)], reporter=listener))
        found = []
        for folder in source.folders(source.targets()[0]):
            found.append(os.path.basename(folder.path))
            if folder.path.endswith(b"/a"):
                (tmp_path / "b/x").unlink()
                (tmp_path / "b").rmdir()
        assert found[1:] == [b"a", b"c"]
        assert [item for item, _text in listener.errors] == [str(tmp_path / "b")]
        assert source.error_count == 1

    def test_folder_swapped_for_a_symlink(self, tmp_path: Path) -> None:
        """Otherwise an attacker could have files of others backed up in his folder."""
        make(tmp_path, "in/a/x", "in/b/x", "secret/key")
        listener = Listener()
        source = FilesSource.open(SourceRequest([str(tmp_path / "in")], reporter=listener))
        found: list[Folder] = []
        for folder in source.folders(source.targets()[0]):
            found.append(folder)
            if folder.path.endswith(b"/a"):
                (tmp_path / "in/b/x").unlink()
                (tmp_path / "in/b").rmdir()
                (tmp_path / "in/b").symlink_to(tmp_path / "secret")
        assert [os.path.basename(folder.path) for folder in found] == [b"in", b"a"]
        assert [item for item, _text in listener.errors] == [str(tmp_path / "in/b")]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_unreadable_folder(self, tmp_path: Path) -> None:
        """What may not be read is named, and everything else is saved."""
        make(tmp_path, "open/x", "shut/x")
        (tmp_path / "shut").chmod(0)
        for folder in (tmp_path, *tmp_path.parents):
            folder.chmod(folder.stat().st_mode | 0o055) if str(folder).count("/") > 1 else None
        listener = Listener()
        os.seteuid(65534)
        try:
            found = below(tmp_path, delivered(tmp_path, listener=listener))
        finally:
            os.seteuid(0)
        assert found == {"open", "open/x", "shut"}
        assert listener.errors == [(str(tmp_path / "shut"), f"{tmp_path}/shut: Permission denied")]

    def test_an_abandoned_walk_leaves_nothing_open(self, tmp_path: Path) -> None:
        """An aborted backup must not hold on to folders: the file system could not be unmounted."""
        make(tmp_path, "a/b/c/x")
        before = open_descriptors()
        source = FilesSource.open(SourceRequest([str(tmp_path)]))
        folders = source.folders(source.targets()[0])
        next(folders)
        assert open_descriptors() == before
        source.close()
