"""A tree of every kind of file comes back as it was: saved and restored by Limpet, and across with a real restic.

Where restic does less than Limpet, by its own sources, the difference is written down here and tested:

- restic saves no sockets (`internal/archiver/archiver.go`) and restores none. Limpet saves and restores them.
- restic counts no links of fifos when it saves, and restores hard links between regular files alone: other kinds become
  files of their own. Limpet keeps all of them, and those of symlinks and devices in snapshots of restic, too.
- restic opens files by their absolute path: what lies deeper than 4,096 bytes it neither saves nor restores.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.fidelity.comparison import Manifest, allocated_bytes, assert_same, manifest, rsync_differences
from tests.fidelity.tree import MIB, make_tree
from tests.safety.program import PASSWORD, Site

ENTRIES, MANY_ENTRIES = 10_000, 100_000

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="devices, owners and trusted attributes need root"),
    pytest.mark.xdist_group("fidelity"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A repository for all tests of this file."""
    made = Site(tmp_path_factory.mktemp("fidelity"))
    made.create()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tree(site: Site) -> Path:
    """The tree, backed up by Limpet."""
    folder = site.folder / "tree"
    make_tree(folder, entries=ENTRIES)
    site.run("backup", folder)
    return folder


@pytest.fixture(scope="module")
def saved(tree: Path) -> Manifest:
    """What is in the tree."""
    return manifest(tree)


def test_the_tree_has_it_all(saved: Manifest) -> None:
    """A file system that cannot hold something would make the other tests pass for nothing."""
    assert {facts.kind for facts in saved.values()} == {"file", "folder", "symlink", "fifo", "socket", "char", "block"}
    assert max(len(path) for path in saved) > 6_000
    assert max(facts.uid for facts in saved.values()) == 4_000_000_000
    assert {-1, -(2**31), 2**33} <= {facts.mtime_ns // 10**9 for facts in saved.values()}
    names = {name for facts in saved.values() for name, _ in facts.attributes}
    assert {"security.capability", "system.posix_acl_access", "system.posix_acl_default", "trusted.limpet"} <= names
    assert len(saved) > ENTRIES


@pytest.mark.parametrize("flags", [(), ("--sparse",)], ids=["plain", "sparse"])
def test_limpet_to_limpet(site: Site, tree: Path, saved: Manifest, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """What a person gets back must be what was there, to the last attribute."""
    ended = site.run("restore", *flags, f"latest:{tree}", "--target", tmp_path / "restored")
    assert "error" not in ended.err.lower(), ended.err
    # The target itself is the caller's folder, not the snapshot's.
    assert_same(_below(saved), _below(manifest(tmp_path / "restored")))
    # rsync knows no paths longer than 4,096 bytes.
    assert [
        line for line in rsync_differences(tree, tmp_path / "restored", leave_out=["/deep"]) if " ./" not in line
    ] == []
    if flags:
        for name in ("sparse", "only-a-hole"):
            path = Path("kinds/contents", name)
            assert allocated_bytes(tmp_path / "restored" / path) <= allocated_bytes(tree / path) + MIB


def test_an_unchanged_tree_adds_nothing(site: Site, tree: Path, saved: Manifest) -> None:
    """Metadata that is read differently the second time would store every folder again."""
    summary = json.loads(site.run("--json", "backup", "--force", tree).out.splitlines()[-1])
    assert summary["data_blobs"] == 0
    below = [path for path, facts in saved.items() if path and facts.kind == "folder"]
    above = len(tree.parts) - 2  # folders between the root and the tree; they have changed since
    assert summary["dirs_new"] == len(below) + above + 1
    assert summary["tree_blobs"] <= above + 1


def test_limpet_to_restic(site: Site, tree: Path, saved: Manifest, tmp_path: Path, restic_new: Restic) -> None:
    """Nobody is locked in: restic restores our snapshots, all but what restic cannot restore at all."""
    for part in ("kinds", "many"):
        target = tmp_path / part
        restic_new.run("restore", f"latest:{tree / part}", "--target", target, repo=site.repository, password=PASSWORD)
        assert_same(_as_restic_restores(_part(saved, part)), _below(manifest(target)))


def test_restic_to_limpet(site: Site, tree: Path, saved: Manifest, tmp_path: Path, restic_new: Restic) -> None:
    """Whoever comes from restic gets everything back that restic saved."""
    restic_new.run("backup", "--tag", "restic", tree / "kinds", tree / "many", repo=site.repository, password=PASSWORD)
    for part in ("kinds", "many"):
        target = tmp_path / part
        site.run("restore", f"latest:{tree / part}", "--tag", "restic", "--target", target)
        assert_same(_as_restic_saves(_part(saved, part)), _below(manifest(target)))


@pytest.mark.long
def test_folder_of_100_000_entries(site: Site, tmp_path: Path, restic_new: Restic) -> None:
    """A mail folder or a cache of many years must neither take for ever nor lose a file."""
    folder = tmp_path / "tree"
    make_tree(folder, entries=MANY_ENTRIES)
    many = folder / "many"
    site.run("backup", many)
    before = _below(manifest(many))
    assert len(before) == MANY_ENTRIES
    site.run("restore", f"latest:{many}", "--path", many, "--target", tmp_path / "restored")
    assert_same(before, _below(manifest(tmp_path / "restored")))
    restic_new.run(
        "restore", f"latest:{many}", "--path", many, "--target", tmp_path / "by-restic",
        repo=site.repository, password=PASSWORD,
    )  # fmt: skip
    assert_same(before, _below(manifest(tmp_path / "by-restic")))


def _below(whole: Manifest) -> Manifest:
    return {path: facts for path, facts in whole.items() if path}


def _part(whole: Manifest, name: str) -> Manifest:
    """What lies below the folder, as paths relative to it."""
    prefix = b"/" + name.encode()
    return {
        path.removeprefix(prefix): replace(facts, same_as=facts.same_as.removeprefix(prefix))
        for path, facts in whole.items()
        if path.startswith(prefix + b"/")
    }


def _as_restic_saves(whole: Manifest) -> Manifest:
    """Without sockets, and with each fifo by itself."""
    return {
        path: replace(facts, same_as=path) if facts.kind == "fifo" else facts
        for path, facts in whole.items()
        if facts.kind != "socket"
    }


def _as_restic_restores(whole: Manifest) -> Manifest:
    """Without sockets, and with hard links between regular files alone."""
    return {
        path: facts if facts.kind == "file" else replace(facts, same_as=path)
        for path, facts in whole.items()
        if facts.kind != "socket"
    }
