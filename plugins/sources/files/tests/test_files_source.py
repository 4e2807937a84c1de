"""The files source: the conformance suite, real trees of every kind, and restic as the judge of what is selected."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.source import Folder, Selection, Source, SourceRequest, StatLike
from limpet.errors import SourceError, UsageError
from limpet.progress import SilentReporter
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance, all_folders, open_descriptors
from limpet_source_files import FilesSource


class Listener(SilentReporter):
    """Keeps what a source tells."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def error(self, error: Exception, *, during: str, item: str) -> None:
        assert during == "archival"
        self.errors.append((item, str(error)))

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def make(root: Path, *names: str) -> None:
    """Files of one byte, and folders for names that end in a slash."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(b"x")


def delivered(*targets: str | Path, selection: Selection | None = None, listener: Listener | None = None) -> set[str]:
    """Snapshot paths of all targets and entries."""
    request = SourceRequest([str(target) for target in targets], selection=selection or Selection(), reporter=listener)
    source = FilesSource.open(request)
    try:
        found = {os.fsdecode(target.path) for target in source.targets()} - {"/"}
        for folder in all_folders(source):
            found |= {os.fsdecode(os.path.join(folder.path, entry.name)) for entry in folder.entries}
        return found
    finally:
        source.close()


def below(root: Path, found: set[str]) -> set[str]:
    """The paths relative to `root`, itself left out."""
    return {os.path.relpath(path, root) for path in found} - {"."}


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


class TestSelection:
    """What is left out."""

    def test_scan_counts_what_is_selected(self, tmp_path: Path) -> None:
        """Totals of another selection make a progress bar that never ends."""
        make(tmp_path, "a/x", "a/y.o", "b/z", "c.o")
        (tmp_path / "b/z").write_bytes(b"12345")
        request = SourceRequest([str(tmp_path)], selection=Selection(exclude=["*.o"]))
        source = FilesSource.open(request)
        assert source.scan() == (2, 6)

    def test_scan_stops_on_close(self, tmp_path: Path) -> None:
        """A scan that outlives the backup keeps the process from ending."""
        make(tmp_path, "a/x")
        source = FilesSource.open(SourceRequest([str(tmp_path)]))
        source.targets()
        source.close()
        assert source.scan() == (0, 0)

    def test_hook_has_the_last_word(self, tmp_path: Path) -> None:
        """A hook is asked for what is left, with the real path and status, and obeyed."""
        make(tmp_path, "a/x", "a/y", "b.o")
        asked: dict[bytes, StatLike] = {}

        def rejected(path: bytes, status: StatLike) -> bool:
            asked[path] = status
            return path.endswith(b"/x")

        found = delivered(tmp_path, selection=Selection(exclude=["*.o"], rejected_by_hook=rejected))
        assert below(tmp_path, found) == {"a", "a/y"}
        assert set(asked) == {os.fsencode(tmp_path / name) for name in ("a", "a/x", "a/y")}
        assert asked[os.fsencode(tmp_path / "a/x")].st_size == 1

    def test_bad_patterns_and_tags(self, tmp_path: Path) -> None:
        """A typing error must not silently back up, or leave out, the wrong files."""
        for selection in (
            Selection(exclude=["ok", "[a"]),
            Selection(exclude_insensitive=["[a"]),
            Selection(exclude_if_present=[":header"]),
            Selection(exclude_if_present=[""]),
        ):
            with pytest.raises(UsageError):
                FilesSource.open(SourceRequest([str(tmp_path)], selection=selection))

    def test_tag_with_another_header_is_warned_about(self, tmp_path: Path) -> None:
        """The user thought that the folder would be left out."""
        make(tmp_path, "a/CACHEDIR.TAG", "a/x")
        listener = Listener()
        found = delivered(tmp_path, selection=Selection(exclude_caches=True), listener=listener)
        assert below(tmp_path, found) == {"a", "a/CACHEDIR.TAG", "a/x"}
        assert any("CACHEDIR.TAG" in text and "signature" in text for text in listener.warnings)

    def test_one_file_system_keeps_mount_points(self) -> None:
        """A restored system needs its empty /dev/pts and /dev/shm to mount on."""
        device = os.stat("/dev").st_dev
        mounts = [
            name for name in os.listdir("/dev") if os.path.ismount(f"/dev/{name}") and os.path.isdir(f"/dev/{name}")
        ]
        if not mounts:
            pytest.skip("nothing is mounted below /dev")
        found = delivered("/dev", selection=Selection(one_file_system=True))
        for name in mounts:
            assert f"/dev/{name}" in found
            assert not {path for path in found if path.startswith(f"/dev/{name}/")}
        assert all(os.lstat(path).st_dev == device for path in found - {f"/dev/{name}" for name in mounts})
        named = delivered("/dev", f"/dev/{mounts[0]}", selection=Selection(one_file_system=True))
        assert {f"/dev/{mounts[0]}/{name}" for name in os.listdir(f"/dev/{mounts[0]}")} <= named


TREE = [
    *["Makefile", "README.md", "src/main.c", "src/main.o", "src/lib/util.c", "src/lib/util.O", "src/lib/.hidden"],
    *["deep/a/b/c/d/e.txt", "deep/a/b/x/d/e.txt", "build/out/bin/tool", "build/out/lib/a.so", "empty/", "big.bin"],
    *["cache/CACHEDIR.TAG", "cache/sub/data", "fake/CACHEDIR.TAG", "fake/data", "header/.tag", "header/data"],
    *["nobackup/.nobackup", "nobackup/data", "nobackup/sub/more", "star*name", "[brackets]", "back\\slash"],
    *["über/Ä.TXT", "a/b", "a/a/b", "a/x/b/c", "a/x/b/"],
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One of everything that a selection can be about."""
    root = tmp_path / "tree"
    make(root, *TREE)
    (root / "cache/CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    (root / "header/.tag").write_bytes(b"keep out, please")
    (root / "big.bin").write_bytes(bytes(5000))
    (root / "link").symlink_to("a" * 3000)
    (root / os.fsdecode(b"bytes\xff\xc3")).touch()
    return root


SELECTIONS = [
    ["--exclude=*.o", "--iexclude=ÜBER/*.txt", "--exclude-larger-than=2000"],
    ["--iexclude=*.o", "--exclude-caches"],
    ["--exclude=*.?", "--exclude=!*.c"],
    ["--exclude=src", "--exclude=!src/main.c", "--one-file-system"],
    ["--exclude=**/d/*", "--exclude=a/**/b"],
    ["--exclude=tree/*/b/**/e.txt", "--exclude=star\\*name", "--exclude=[[]brackets]", "--exclude=back\\\\slash"],
    ["--exclude=[^a-m]*"],
    ["--exclude=bytes??", "--exclude=?ber/[Ä-Ö].TXT"],
    ["--exclude-if-present=.tag:keep out", "--exclude-if-present=.nobackup:other"],
    ["--exclude-if-present=.nobackup", "--exclude-if-present=CACHEDIR.TAG"],
]


def selection_of(flags: list[str]) -> Selection:
    """The selection that restic's flags mean."""

    def values(name: str) -> list[str]:
        return [flag.removeprefix(f"--{name}=") for flag in flags if flag.startswith(f"--{name}=")]

    larger = values("exclude-larger-than")
    return Selection(
        exclude=values("exclude"),
        exclude_insensitive=values("iexclude"),
        exclude_caches="--exclude-caches" in flags,
        exclude_if_present=values("exclude-if-present"),
        exclude_larger_than_bytes=int(larger[0]) if larger else None,
        one_file_system="--one-file-system" in flags,
    )


@pytest.fixture(scope="module")
def repository(restic_new: Restic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all: making a key takes a second."""
    repository = tmp_path_factory.mktemp("restic") / "repository"
    restic_new.run("init", repo=repository, password="p")
    return repository


@pytest.mark.interop
class TestAsRestic:
    """restic's own backups are the judge."""

    def listed(self, restic: Restic, repository: Path, cwd: Path, *args: str) -> tuple[set[str], list[str]]:
        """All paths of a snapshot that restic makes in the folder, and the snapshot's `paths`."""
        environment = {"PWD": str(cwd)}
        backup = ["--json", "backup", "--no-scan", *args]
        done = restic.run(*backup, repo=repository, password="p", cwd=cwd, env=environment)
        summary = json.loads(done.stdout.splitlines()[-1])
        lines = restic.run("--json", "ls", summary["snapshot_id"], repo=repository, password="p").stdout.splitlines()
        snapshot, *nodes = [json.loads(line) for line in lines]
        return {node["path"] for node in nodes}, snapshot["paths"]

    @pytest.mark.parametrize("flags", SELECTIONS, ids=" ".join)
    def test_selects_the_same(self, flags: list[str], restic_new: Restic, repository: Path, tree: Path) -> None:
        """A pattern that means something else than in restic loses files, or saves secrets."""
        expected, _paths = self.listed(restic_new, repository, tree.parent, *flags, "tree")
        found = delivered(tree, selection=selection_of(flags))
        printable = {"/" + os.path.relpath(path, tree.parent) for path in found if path.isprintable()}
        assert printable == {path for path in expected if "\ufffd" not in path and path.isprintable()}
        # Names that are no UTF-8 are listed with replacement characters: compare their number.
        assert len(found) == len(expected)

    @pytest.mark.parametrize(
        "targets",
        [
            ["."],
            ["..", "a"],
            ["a/x/b", "a"],
            ["a", "./a/", "a/../a", "../a", "../../a"],
            ["../a/deep", "a/b", "../../a"],
            ["ABS/a", "a", "link"],
            ["ABS", "ABS/a/b"],
            ["a/x/../b", "src//lib"],
        ],
        ids=" ".join,
    )
    def test_places_the_same(
        self, targets: list[str], restic_new: Restic, repository: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Users continue restic's snapshots with ours: every path must be where it was."""
        make(tree.parent, "a/deep/one")
        make(tree.parent.parent, "a/up/two")
        targets = [target.replace("ABS", str(tree)) for target in targets]
        expected, paths = self.listed(restic_new, repository, tree, *targets)
        monkeypatch.chdir(tree)
        monkeypatch.setenv("PWD", str(tree))
        source = FilesSource.open(SourceRequest(targets))
        assert list(source.snapshot_paths) == paths
        found = delivered(*targets)
        above = {folder for path in found for folder in map(str, Path(path).parents)} - {"/"}
        assert len(found | above) == len(expected)
        printable = {path for path in expected if "\ufffd" not in path and path.isprintable()}
        assert {path for path in found | above if path.isprintable()} == printable
