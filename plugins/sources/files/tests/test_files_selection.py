"""What the files source leaves out, with restic as the judge of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from limpet.contracts.source import Selection, SourceRequest, StatLike
from limpet.errors import UsageError
from limpet.testing.restic import Restic
from limpet_source_files import FilesSource

from plugins.sources.files.tests.trees import Listener, below, delivered, make


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
