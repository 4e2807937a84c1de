"""Every kind of file comes back as it was, and what is there already is treated as --overwrite says."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.backend import FileKind
from limpet.format.filemode import GO_CHARDEV, GO_DEVICE, GO_FIFO, GO_SETUID, GO_SOCKET, GO_SYMLINK, NodeType
from limpet.format.node import Node
from limpet.format.timestamps import Time
from limpet.operations.restore import Overwrite, RestoreOptions, restore, verify_files
from limpet.operations.restore.content import HOLE_BLOCK_BYTES, data_runs
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend
from limpet.testing.handmade import A_TIME, Handmade, chain

IS_ROOT = os.geteuid() == 0
OLD = Time(-1_000_000_001, 0)


def options(**chosen: Any) -> RestoreOptions:
    """Options with two workers."""
    return RestoreOptions(workers=2, **chosen)


def test_paths_beyond_the_systems_limit(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """Folders as deep as a build system makes them could be saved but never restored."""
    names = [b"%03d-" % i + b"x" * 240 for i in range(25)]
    top = chain(handmade, names, handmade.file(b"leaf", b"leaf"), handmade.file(b"big", b"1", b"2"))
    result = restore_nodes(tmp_path, top)
    assert result.errors == 0
    assert sum(map(len, names)) > 6000
    folder = os.open(tmp_path, os.O_RDONLY)
    for name in names:
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
        assert os.fstat(folder).st_mtime_ns == A_TIME.ns
    assert sorted(os.listdir(folder)) == ["big", "leaf"]
    leaf = os.open(b"leaf", os.O_RDONLY, dir_fd=folder)
    assert os.read(leaf, 10) == b"leaf"
    os.close(leaf)
    os.close(folder)
    again = restore_nodes(tmp_path, top)
    assert (again.errors, again.files_skipped) == (0, 2)
    cleared = restore_nodes(tmp_path, handmade.file(b"only", b"x"), options=options(delete=True))
    assert cleared.errors == 0
    assert os.listdir(tmp_path) == ["only"]


def test_very_deep_folders(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """A thousand folders one in the other must not exhaust recursion or descriptors."""
    result = restore_nodes(tmp_path, chain(handmade, [b"d"] * 1200, handmade.file(b"f", b"f")))
    assert result.errors == 0
    assert result.files_restored == 1201
    result = restore_nodes(tmp_path, handmade.file(b"g", b"g"), options=options(delete=True))
    assert result.errors == 0
    assert os.listdir(tmp_path) == ["g"]


def test_metadata(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """Modes, times before 1970 and nanoseconds would get lost, and setuid bits with the owner's change."""
    files = {
        "one": handmade.file(b"one", b"one", mode=0o755 | GO_SETUID, mtime=OLD),
        "parts": handmade.file(b"parts", b"1", b"2", mode=0o440, mtime=OLD),
        "none": handmade.file(b"none", mode=0, mtime=Time(1, 0)),
    }
    if IS_ROOT:
        for node in files.values():
            node.uid, node.gid = 1234, 5678
    for node in files.values():
        node.extended_attributes = [(b"user.note", b"\0bytes"), (b"user.empty", b"")]
    locked = handmade.folder(b"locked", handmade.folder(b"inner", files["one"], mode=0o555), mode=0o500)
    result = restore_nodes(tmp_path, locked, files["parts"], files["none"])
    assert result.errors == 0
    for path, node in (("locked/inner/one", files["one"]), ("parts", files["parts"]), ("none", files["none"])):
        status = os.stat(tmp_path / path)
        assert status.st_mtime_ns == status.st_atime_ns == node.mtime.ns
        assert stat.S_IMODE(status.st_mode) == (node.mode & 0o777) | (0o4000 if node.mode & GO_SETUID else 0)
        assert not IS_ROOT or (status.st_uid, status.st_gid) == (1234, 5678)
        names = sorted(os.listxattr(tmp_path / path))
        assert names == ["user.empty", "user.note"]
        assert os.getxattr(tmp_path / path, "user.note") == b"\0bytes"
    for path, mode in (("locked", 0o500), ("locked/inner", 0o555)):
        status = os.stat(tmp_path / path)
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (mode, A_TIME.ns)


def _special(name: bytes, kind: NodeType, mode: int, **fields: Any) -> Node:
    return Node(name, kind, mode, OLD, OLD, OLD, **fields)


@pytest.mark.skipif(not IS_ROOT, reason="makes devices")
def test_special_files_and_hard_links(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """Devices, fifos and symlinks, and the links between them, are part of any system's backup."""
    nodes = [
        handmade.file(b"a1", b"content"),
        _special(b"char", NodeType.CHARDEV, GO_DEVICE | GO_CHARDEV | 0o640, device=os.makedev(1, 7), links=1),
        _special(b"block", NodeType.DEV, GO_DEVICE | 0o600, device=os.makedev(7, 99), links=1),
        _special(b"fifo1", NodeType.FIFO, GO_FIFO | 0o622, links=2, inode=5, device_id=1),
        _special(b"fifo2", NodeType.FIFO, GO_FIFO | 0o622, links=2, inode=5, device_id=1),
        _special(b"link1", NodeType.SYMLINK, GO_SYMLINK | 0o777, link_target=b"to\xff", links=2, inode=6, device_id=1),
        _special(b"link2", NodeType.SYMLINK, GO_SYMLINK | 0o777, link_target=b"to\xff", links=2, inode=6, device_id=1),
        _special(b"other", NodeType.SYMLINK, GO_SYMLINK | 0o777, link_target=b"x", links=2, inode=6, device_id=2),
        _special(b"sock", NodeType.SOCKET, GO_SOCKET | 0o751),
        handmade.file(b"z1", b"content", stored=False),
        handmade.file(b"z2", b"part", b"other part"),
        handmade.file(b"z3", b"part", b"other part", stored=False),
    ]
    for node, inode in ((nodes[0], 9), (nodes[9], 9), (nodes[10], 10), (nodes[11], 10)):
        node.links, node.inode, node.device_id = 2, inode, 3
    for _ in range(2):
        assert restore_nodes(tmp_path, *nodes).errors == 0
        found = {path.name: path.lstat() for path in tmp_path.iterdir()}
        assert set(found) == {node.name.decode() for node in nodes}
        for first, second in (("fifo1", "fifo2"), ("link1", "link2"), ("a1", "z1"), ("z2", "z3")):
            assert found[first].st_ino == found[second].st_ino
            assert found[first].st_nlink == 2
        assert found["other"].st_nlink == 1
        assert stat.S_ISCHR(found["char"].st_mode)
        assert found["char"].st_rdev == os.makedev(1, 7)
        assert stat.S_ISBLK(found["block"].st_mode)
        assert stat.S_IMODE(found["fifo1"].st_mode) == 0o622
        assert found["sock"].st_mode == stat.S_IFSOCK | 0o751
        assert os.readlink(os.fsencode(tmp_path / "link1")) == b"to\xff"
        assert {found[name].st_mtime_ns for name in ("char", "fifo1", "link1")} == {OLD.ns}


def test_unknown_kinds_are_errors(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """What cannot be made must be told, not forgotten."""
    restore_nodes(tmp_path, _special(b"door", NodeType.IRREGULAR, 0), handmade.file(b"f", b"f"))
    assert told.failed_items == ["/door"]
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("kept", [False, True])
def test_sparse(handmade: Handmade, restore_nodes: Any, tmp_path: Path, kept: bool) -> None:
    """A sparse disk image would fill the disk."""
    parts = [b"head" + bytes(1_000_000), bytes(5_000_000), b"x" * 100 + bytes(300_000) + b"tail"]
    nodes = [handmade.file(b"parts", *parts), handmade.file(b"whole", parts[0]), handmade.file(b"zeros", parts[1])]
    if kept:
        (tmp_path / "parts").write_bytes(b"head" + b"old" * 500_000)
    assert restore_nodes(tmp_path, *nodes, options=options(sparse=True)).errors == 0
    assert (tmp_path / "parts").read_bytes() == b"".join(parts)
    assert (tmp_path / "whole").read_bytes() == parts[0]
    assert (tmp_path / "zeros").read_bytes() == parts[1]
    for name in ("parts", "whole", "zeros"):
        assert os.stat(tmp_path / name).st_blocks * 512 <= 5 * HOLE_BLOCK_BYTES


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * HOLE_BLOCK_BYTES)), max_size=6), st.integers(0, 3 * 4096))
def test_data_runs_leave_out_zeros_alone(pieces: list[tuple[bool, int]], offset: int) -> None:
    """A run left out that is not zeros would be data lost."""
    data = b"".join((b"\0" if is_zero else b"x") * length for is_zero, length in pieces)
    rebuilt = bytearray(len(data))
    for begin, end in data_runs(memoryview(data), offset):
        rebuilt[begin:end] = data[begin:end]
    assert rebuilt == data
    blocks = {
        (offset + i) // HOLE_BLOCK_BYTES for begin, end in data_runs(memoryview(data), offset) for i in (begin, end - 1)
    }
    for block in blocks:
        begin, end = block * HOLE_BLOCK_BYTES - offset, (block + 1) * HOLE_BLOCK_BYTES - offset
        assert any(data[max(0, begin) : end])


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_overwrite(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path, overwrite: Overwrite) -> None:
    """A user's newer work would be overwritten, or an old file kept, against what was asked for."""
    snapshot_s = A_TIME.ns // 10**9
    for name, content, seconds in (
        ("older", b"old", snapshot_s - 100),
        ("newer", b"new", snapshot_s + 100),
        ("same-time", b"wrong", None),
        ("right", b"snapshot", snapshot_s - 100),
    ):
        (tmp_path / name).write_bytes(content)
        at = A_TIME.ns if seconds is None else seconds * 10**9
        os.utime(tmp_path / name, ns=(at, at))
    names = (b"absent", b"newer", b"older", b"right")
    nodes = [handmade.file(name, b"snapshot") for name in names] + [handmade.file(b"same-time", b"taken")]
    assert restore_nodes(tmp_path, *nodes, options=options(overwrite=overwrite)).errors == 0
    expected = {
        Overwrite.ALWAYS: {"older": b"snapshot", "newer": b"snapshot", "same-time": b"taken"},
        Overwrite.IF_CHANGED: {"older": b"snapshot", "newer": b"snapshot", "same-time": b"wrong"},
        Overwrite.IF_NEWER: {"older": b"snapshot", "newer": b"new", "same-time": b"wrong"},
        Overwrite.NEVER: {"older": b"old", "newer": b"new", "same-time": b"wrong"},
    }[overwrite]
    assert {name: (tmp_path / name).read_bytes() for name in expected} == expected
    assert (tmp_path / "absent").read_bytes() == b"snapshot"
    actions = told.actions()
    assert actions["/absent"] == "restored"
    assert actions["/right"] == "unchanged"
    kept = overwrite is Overwrite.NEVER
    assert actions["/older"] == ("unchanged" if kept else "updated")
    assert ((tmp_path / "right").stat().st_mtime_ns == A_TIME.ns) is not kept


def test_kinds_replace_each_other(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """A file in the place of a folder, or the reverse, would stop the restore."""
    (tmp_path / "file-to-folder").write_bytes(b"x")
    (tmp_path / "folder-to-file").mkdir()
    (tmp_path / "folder-to-link").mkdir()
    (tmp_path / "link-to-big").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    nodes = [
        handmade.folder(b"file-to-folder", handmade.file(b"in", b"in")),
        handmade.file(b"folder-to-file", b"file"),
        _special(b"folder-to-link", NodeType.SYMLINK, GO_SYMLINK | 0o777, link_target=b"x"),
        handmade.file(b"full", b"1", b"2"),
        handmade.file(b"link-to-big", b"1", b"2", stored=False),
    ]
    restore_nodes(tmp_path, *nodes)
    assert told.failed_items == ["/full"]
    assert (tmp_path / "file-to-folder/in").read_bytes() == b"in"
    assert (tmp_path / "folder-to-file").read_bytes() == b"file"
    assert os.readlink(tmp_path / "folder-to-link") == "x"
    assert (tmp_path / "link-to-big").read_bytes() == b"12"
    assert restore_nodes(tmp_path, *nodes, options=options(delete=True)).errors == 0
    assert (tmp_path / "full").read_bytes() == b"12"


def test_a_second_run_writes_only_what_is_wrong(told: Any, tmp_path: Path) -> None:
    """An interrupted restore of a terabyte would have to start over."""
    recording = RecordingBackend(MemoryBackend())
    handmade = Handmade(recording)
    big = [os.urandom(600_000) for _ in range(6)]
    nodes = [handmade.file(b"big", *big), handmade.file(b"small", b"small"), handmade.file(b"empty")]
    tree_id = handmade.tree(*nodes)
    restore(handmade.repository, tree_id, tmp_path, options(), told)
    inodes = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    recording.calls.clear()
    result = restore(handmade.repository, tree_id, tmp_path, options(), told)
    assert recording.loaded(FileKind.PACK) == 0  # the tree is still known
    assert (result.files_skipped, result.files_restored, result.bytes_restored) == (3, 0, 0)

    with open(tmp_path / "big", "r+b") as file:
        file.seek(650_000)
        file.write(b"damage")
        file.truncate(3_000_000)
    recording.calls.clear()
    result = restore(handmade.repository, tree_id, tmp_path, options(), told)
    assert (tmp_path / "big").read_bytes() == b"".join(big)
    loaded = sum(call.length_bytes or 0 for call in recording.calls)
    assert 1_200_000 < loaded < 1_300_000 + 2000
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == inodes
    assert result.bytes_restored == result.bytes_total == 3_600_000

    with open(tmp_path / "big", "ab") as file:
        file.write(b"too long")
    assert restore(handmade.repository, tree_id, tmp_path, options(), told).errors == 0
    assert (tmp_path / "big").read_bytes() == b"".join(big)
    assert (tmp_path / "big").stat().st_mtime_ns == A_TIME.ns


def test_dry_run(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """A dry run that writes is none; one that tells something else than the restore does is worse."""
    (tmp_path / "extra").touch()
    (tmp_path / "wrong").write_bytes(b"wrong")
    (tmp_path / "right").write_bytes(b"right")
    before = _states(tmp_path)
    nodes = [
        handmade.folder(b"folder", handmade.file(b"in", b"in", b"parts")),
        handmade.file(b"right", b"right"),
        handmade.file(b"wrong", b"better", b"other"),
        _special(b"link", NodeType.SYMLINK, GO_SYMLINK | 0o777, link_target=b"x"),
    ]
    planned = restore_nodes(tmp_path, *nodes, options=options(dry_run=True, delete=True))
    assert _states(tmp_path) == before
    foreseen = told.actions()
    told.items.clear()
    done = restore_nodes(tmp_path, *nodes, options=options(delete=True))
    assert told.actions() == foreseen
    planned.duration_s = done.duration_s = 0
    assert planned == done
    assert restore_nodes(tmp_path / "none", *nodes, options=options(dry_run=True)).files_restored == 5
    assert not (tmp_path / "none").exists()


def _states(folder: Path) -> dict[str, tuple[int, ...]]:
    """What a write would change of the entries; reading, to compare, is allowed and changes the access time."""
    return {
        path.name: (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        for path in folder.iterdir()
        for status in [path.lstat()]
    }


def test_verify(handmade: Handmade, told: Any, tmp_path: Path) -> None:
    """--verify that finds nothing wrong in a wrong file is a false promise."""
    nodes = [handmade.file(name, b"1" * 1000, b"2" * 1000) for name in (b"cut", b"good", b"wrong")]
    tree_id = handmade.tree(handmade.folder(b"d", *nodes), handmade.file(b"e"))
    result = restore(handmade.repository, tree_id, tmp_path, options(), told)
    assert verify_files(handmade.repository, tree_id, tmp_path, options(), result, reporter=told) == 4
    assert told.errors == []
    os.truncate(tmp_path / "d/cut", 5)
    (tmp_path / "d/wrong").write_bytes(b"1" * 1000 + b"3" * 1000)
    assert verify_files(handmade.repository, tree_id, tmp_path, options(), result, reporter=told) == 2
    assert sorted(told.errors) == [
        (f"{tmp_path}/d/cut", "Invalid file size: expected 2000, got 5"),
        (f"{tmp_path}/d/wrong", "Unexpected content, starting at offset 1000"),
    ]


def test_selection(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """Only what is chosen may appear, and only that may be deleted."""
    (tmp_path / "a").mkdir()
    for extra in ("a/extra.txt", "a/extra.bin", "extra.txt"):
        (tmp_path / extra).touch()
    nodes = [
        handmade.folder(b"a", handmade.file(b"1.txt", b"1"), handmade.file(b"2.bin", b"2"), mode=0o750),
        handmade.folder(b"b", handmade.file(b"3.bin", b"3")),
    ]

    def texts_in_a(path: bytes, is_folder: bool) -> tuple[bool, bool]:
        return path.startswith(b"/a/") and path.endswith(b".txt"), is_folder and path == b"/a"

    result = restore_nodes(tmp_path, *nodes, options=options(select=texts_in_a, delete=True))
    assert result.errors == 0
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert found == ["a", "a/1.txt", "a/extra.bin", "extra.txt"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o750


def test_xattr_selection(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """An attribute that was not chosen must be neither set nor removed."""
    (tmp_path / "f").write_bytes(b"f")
    os.setxattr(tmp_path / "f", "user.mine", b"1")
    os.setxattr(tmp_path / "f", "user.old", b"1")
    node = handmade.file(b"f", b"f")
    node.extended_attributes = [(b"user.new", b"n"), (b"user.mine.too", b"n")]
    chosen = options(select_xattr=lambda name: not name.startswith(b"user.mine"))
    assert restore_nodes(tmp_path, node, options=chosen).errors == 0
    assert sorted(os.listxattr(tmp_path / "f")) == ["user.mine", "user.new"]


@pytest.mark.skipif(not IS_ROOT, reason="gives files away")
def test_ownership_by_name(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """On another machine the same number is another user."""
    known, unknown = handmade.file(b"known", b"1"), handmade.file(b"unknown", b"2")
    known.uid = known.gid = unknown.uid = unknown.gid = 4242
    known.user, known.group = "daemon", "daemon"
    unknown.user, unknown.group = "no such user", "no such group"
    assert restore_nodes(tmp_path, known, unknown, options=options(ownership_by_name=True)).errors == 0
    import pwd  # noqa: PLC0415

    assert (tmp_path / "known").stat().st_uid == pwd.getpwnam("daemon").pw_uid
    assert (tmp_path / "unknown").stat().st_uid == 0


def test_threads_instead_of_processes(
    handmade: Handmade, restore_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systems that cannot fork restore as well."""
    monkeypatch.setenv("LIMPET_THREADS", "1")
    nodes = [handmade.file(b"%d" % i, b"%d" % i, b"part") for i in range(50)]
    assert restore_nodes(tmp_path, *nodes).errors == 0
    assert (tmp_path / "49").read_bytes() == b"49part"


@pytest.mark.skipif(not IS_ROOT, reason="becomes another user")
def test_without_the_rights_of_root(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """A user restores what is theirs, over read-only folders and files too, and owns all of it."""
    os.chmod(tmp_path, 0o777)
    for folder in tmp_path.parents:
        if folder.owner() == "root" and folder != Path("/") and not folder.stat().st_mode & 0o005:
            os.chmod(folder, 0o755)
    restore_nodes(tmp_path / "warm", handmade.file(b"w", b"w"))  # loads the modules that the other user may not read
    target = tmp_path / "new" / "target"
    inner = [handmade.file(b"r", b"r", mode=0o400), handmade.file(b"parts", b"1", b"2", mode=0), handmade.file(b"e")]
    foreign = handmade.file(b"foreign", b"x", mode=0o644 | GO_SETUID)
    foreign.uid = foreign.gid = 4242
    first = handmade.tree(handmade.folder(b"locked", *inner, mode=0o555), foreign)
    changed = [handmade.file(b"r", b"changed", mode=0o400), handmade.file(b"parts", b"1", b"3", mode=0), inner[2]]
    second = handmade.tree(handmade.folder(b"locked", *changed, mode=0o555), foreign)

    def as_nobody() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        for tree_id in (first, second, second):
            result = restore(handmade.repository, tree_id, target, options(delete=True), told)
            if result.errors:
                print(told.errors, flush=True)
                os._exit(1)
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=as_nobody)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert (target / "locked/r").read_bytes() == b"changed"
    assert (target / "locked/parts").read_bytes() == b"13"
    assert stat.S_IMODE((target / "locked").stat().st_mode) == 0o555
    assert stat.S_IMODE((target / "locked/parts").stat().st_mode) == 0
    assert {path.stat().st_uid for path in target.rglob("*")} == {65534}
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
