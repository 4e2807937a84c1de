"""A restore never writes outside its target, whatever the snapshot says and whoever interferes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from limpet.operations.restore import RestoreOptions
from limpet.testing.handmade import Handmade

WORKERS = 2


@pytest.mark.parametrize(
    "name", [b"..", b".", b"", b"../evil", b"sub/evil", b"/evil", b"evil\0name", b"..\\x/..", b"a/../../evil"]
)
def test_hostile_names_are_reported_and_the_rest_restored(
    handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path, name: bytes
) -> None:
    """A forged snapshot would write anywhere on the machine of whoever restores it."""
    target = tmp_path / "target"
    victim = tmp_path / "evil"
    nodes = [handmade.file(name, b"evil"), handmade.file(b"good", b"good"), handmade.folder(name)]
    result = restore_nodes(target, *nodes)
    assert result.errors == 2
    assert told.failed_items == ["/", "/"]
    assert "invalid child node name" in told.errors[0][1]
    assert os.listdir(target) == ["good"]
    assert not victim.exists()
    assert sorted(os.listdir(tmp_path)) == ["target"]


def test_a_name_twice_in_a_folder(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """A symlink and a folder of one name would lead what is in the folder through the symlink."""
    link = handmade.file(b"x", b"first")
    inside = handmade.folder(b"x", handmade.file(b"passwd", b"evil"))
    result = restore_nodes(tmp_path / "t", link, inside, handmade.file(b"y", b"y"))
    assert result.errors == 1
    assert "twice" in told.errors[0][1]
    assert (tmp_path / "t/x").read_bytes() == b"first"
    assert (tmp_path / "t/y").read_bytes() == b"y"


def test_planted_symlinks_are_replaced_not_followed(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """A symlink left in the target by another user would get its victim overwritten."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (outside / "file").write_bytes(b"precious")
    (target / "folder").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    (target / "big").symlink_to(outside / "file")
    (target / "empty").symlink_to(outside / "new")
    before = os.stat(outside).st_ctime_ns
    result = restore_nodes(
        target,
        handmade.folder(b"folder", handmade.file(b"file", b"new")),
        handmade.file(b"file", b"new"),
        handmade.file(b"big", b"one", b"two"),
        handmade.file(b"empty"),
    )
    assert result.errors == 0
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_bytes() == b"precious"
    assert os.stat(outside).st_ctime_ns == before
    assert not (target / "folder").is_symlink()
    assert (target / "folder/file").read_bytes() == b"new"
    assert (target / "big").read_bytes() == b"onetwo"


def test_planted_hard_links_are_replaced(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """A hard link to a foreign file would get that file's content or owner changed."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    target.mkdir()
    outside.write_bytes(b"same")
    os.chmod(outside, 0o600)
    for name in ("same", "other", "many"):
        os.link(outside, target / name)
    before = os.stat(outside)
    result = restore_nodes(
        target,
        handmade.file(b"same", b"same", mode=0o777),
        handmade.file(b"other", b"diff", mode=0o777),
        handmade.file(b"many", b"sa", b"MA", mode=0o777),
    )
    after = os.stat(outside)
    assert result.errors == 0
    assert outside.read_bytes() == b"same"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)
    assert (target / "many").read_bytes() == b"saMA"
    assert stat.S_IMODE((target / "same").stat().st_mode) == 0o777


def _swap(folder: bytes, outside: bytes, ready: Any, stop: Any) -> None:
    """Again and again put a symlink to the victim in the place of the folder and of what is in it."""
    moved = folder + b".moved"
    ready.set()
    while not stop.is_set():
        for path in (folder, folder + b"/0", folder + b"/sub"):
            try:
                os.rename(path, moved)
                os.symlink(outside, path)
                os.unlink(path)
                os.rename(moved, path)
            except OSError:
                pass
            with contextlib.suppress(OSError):
                os.symlink(outside, path)
            try:
                if os.path.islink(path):
                    os.unlink(path)
            except OSError:
                pass


def test_a_racing_process_cannot_lead_the_restore_outside(
    handmade: Handmade, restore_nodes: Any, tmp_path: Path
) -> None:
    """Somebody who may write into the target would win root's rights by swapping a folder for a symlink in time."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (outside / "sub").mkdir()
    before = (os.stat(outside), os.stat(outside / "sub"), os.stat(outside / "precious"))
    files = [handmade.file(b"%d" % i, b"data of %d" % i) for i in range(150)]
    sub = handmade.folder(b"sub", handmade.file(b"precious", b"evil", b"twice"), *files, mode=0o777)
    nodes = [handmade.folder(b"f", *files, handmade.file(b"precious", b"evil"), sub, mode=0o777)]
    context = multiprocessing.get_context("fork")
    ready, stop = context.Event(), context.Event()
    racer = context.Process(target=_swap, args=(os.fsencode(target / "f"), os.fsencode(outside), ready, stop))
    racer.start()
    try:
        ready.wait(10)
        deadline = time.monotonic() + 4
        rounds = 0
        while time.monotonic() < deadline:
            restore_nodes(target, *nodes, options=RestoreOptions(workers=WORKERS, delete=True))
            rounds += 1
            assert sorted(os.listdir(outside)) == ["precious", "sub"]
            assert os.listdir(outside / "sub") == []
    finally:
        stop.set()
        racer.join(10)
    assert rounds > 1
    assert (outside / "precious").read_bytes() == b"precious"
    after = (os.stat(outside), os.stat(outside / "sub"), os.stat(outside / "precious"))
    assert [(s.st_mode, s.st_uid, s.st_mtime_ns) for s in after] == [
        (s.st_mode, s.st_uid, s.st_mtime_ns) for s in before
    ]


def test_delete_stays_in_the_target(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """--delete through a symlink would wipe what the symlink points to."""
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    (outside / "precious").write_bytes(b"precious")
    (target / "extra/deep").mkdir(parents=True)
    (target / "extra/deep/link").symlink_to(outside)
    (target / "link").symlink_to(outside)
    (target / "keep").mkdir()
    (target / "keep/link").symlink_to(outside)
    nodes = [handmade.folder(b"keep", handmade.file(b"file", b"x"))]
    result = restore_nodes(target, *nodes, options=RestoreOptions(delete=True, workers=WORKERS))
    assert result.errors == 0
    assert result.files_deleted == 5
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*")) == ["keep", "keep/file"]
    assert (outside / "precious").read_bytes() == b"precious"
    deleted = [path for path, action in told.actions().items() if action == "deleted"]
    assert all(path.startswith(str(target) + "/") for path in deleted)


@pytest.mark.parametrize("damage", ["hostile name", "lost tree"])
def test_nothing_is_deleted_where_the_snapshot_is_not_known(
    handmade: Handmade, restore_nodes: Any, tmp_path: Path, damage: str
) -> None:
    """A damaged snapshot holds names that we cannot read: --delete would remove the last copy of those files."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine").write_bytes(b"mine")
    folder = handmade.folder(b"folder", handmade.file(b"..", b"x"))
    if damage == "lost tree":
        folder.subtree = handmade.folder(b"other", handmade.file(b"o", b"o")).subtree
        assert folder.subtree is not None
        found = handmade.repository.index.find_all(_tree_kind(), folder.subtree)
        handmade.replace_pack(found[0].pack_id, None)
    result = restore_nodes(tmp_path, folder, options=RestoreOptions(delete=True, workers=WORKERS))
    assert result.errors == 1
    assert result.files_deleted == 0
    assert (tmp_path / "folder/mine").read_bytes() == b"mine"


def _tree_kind() -> Any:
    from limpet.format.pack import BlobKind  # noqa: PLC0415

    return BlobKind.TREE


def test_new_files_are_private_until_they_are_complete(handmade: Handmade, tmp_path: Path) -> None:
    """Other users would read a secret file in the moment before its mode is set."""
    target = tmp_path / "target"
    target.mkdir()
    os.chmod(target, 0o777)
    script = (
        "import os, sys\n"
        "folder, seen = sys.argv[1], set()\n"
        "print('ready', flush=True)\n"
        "while not os.path.exists(folder + '/stop'):\n"
        "    for name in os.listdir(folder):\n"
        "        try: seen.add(os.stat(folder + '/' + name).st_mode & 0o777)\n"
        "        except OSError: pass\n"
        "print(sorted(seen))\n"
    )
    watcher = subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "ready\n"
    from limpet.operations.restore import restore  # noqa: PLC0415

    nodes = [handmade.file(b"%d" % i, b"secret %d" % i, b"more", mode=0o400) for i in range(200)]
    restore(handmade.repository, handmade.tree(*nodes), target, RestoreOptions(workers=WORKERS))
    (target / "stop").touch(0o600)
    seen, _ = watcher.communicate(timeout=20)
    assert set(eval(seen)) <= {0o600, 0o400}
