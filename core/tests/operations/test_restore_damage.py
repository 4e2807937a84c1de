"""What a damaged repository costs: the files that need what is lost, named, and no other."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, LimpetError
from limpet.ids import BlobId
from limpet.operations.restore import RestoreOptions, restore
from limpet.operations.restore.needs import JOIN_GAP_BYTES, Needs
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import Operation, RecordingBackend
from limpet.testing.handmade import Handmade

OPTIONS = RestoreOptions(workers=2)


@pytest.fixture
def damaged_pack(handmade: Handmade) -> dict[str, Any]:
    """Files that need blobs of one pack and of others; `id` and `stored` of that pack."""
    pack_id = handmade.pack(b"a" * 1000, b"b" * 1000, b"c" * 1000)
    handmade.pack(b"other" * 100)
    nodes = [
        handmade.file(b"first", b"a" * 1000, stored=False),
        handmade.file(b"second", b"b" * 1000, stored=False),
        handmade.file(b"both", b"other" * 100, b"b" * 1000, stored=False),
        handmade.file(b"third", b"c" * 1000, stored=False),
        handmade.file(b"sound", b"other" * 100, stored=False),
        handmade.file(b"empty"),
    ]
    return {"id": pack_id, "stored": handmade.repository.backend.load(handmade.handle(pack_id)), "nodes": nodes}


def _flip(stored: bytes, position: int) -> bytes:
    return stored[:position] + bytes([stored[position] ^ 1]) + stored[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        ("missing", {"/first", "/second", "/both", "/third"}),
        ("empty", {"/first", "/second", "/both", "/third"}),
        ("cut", {"/second", "/both", "/third"}),
        ("flip", {"/second", "/both"}),
    ],
)
def test_a_damaged_pack(
    *,
    handmade: Handmade,
    restore_nodes: Any,
    told: Any,
    damaged_pack: Any,
    tmp_path: Path,
    damage: str,
    lost: set[str],
) -> None:
    """One bad pack would cost the whole restore, or, worse, put wrong bytes into files without a word."""
    stored = damaged_pack["stored"]
    bytes_now = {"missing": None, "empty": b"", "cut": stored[:1500], "flip": _flip(stored, 1500)}[damage]
    handmade.replace_pack(damaged_pack["id"], bytes_now)
    result = restore_nodes(tmp_path, *damaged_pack["nodes"])
    assert set(told.failed_items) == lost
    assert len(told.errors) == result.errors == len(lost)
    assert result.files_restored == 6 - len(lost)
    assert all(reason for _, reason in told.errors)
    for name, content in {"first": b"a" * 1000, "third": b"c" * 1000, "sound": b"other" * 100, "empty": b""}.items():
        if f"/{name}" not in lost:
            assert (tmp_path / name).read_bytes() == content
    assert not (tmp_path / "second").exists()
    # What is lost of it may not look as if it were complete.
    assert (tmp_path / "both").stat().st_mtime_ns != damaged_pack["nodes"][2].mtime.ns


def test_a_blob_that_is_another(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """A sealed blob is authentic but not the one asked for: only its hash tells that the wrong data came."""
    wanted = BlobId(sha256(b"wanted").digest())
    handmade.pack_as([(wanted, b"forged")])
    restore_nodes(tmp_path, handmade.file(b"f", b"wanted", stored=False), handmade.file(b"g", b"g"))
    assert told.failed_items == ["/f"]
    assert os.listdir(tmp_path) == ["g"]


def test_two_blobs_at_one_place(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """An index that gives two blobs the same place must not make one pass for the other."""
    pack_id = handmade.pack(b"real")
    real = handmade.repository.index.pack_blobs(pack_id)[0]
    fake = BlobId(sha256(b"fake").digest())
    table = handmade.repository.index.table
    table.add(0, fake, table.add_pack(pack_id), real.offset_bytes, real.length_bytes, 0)
    restore_nodes(
        tmp_path, handmade.file(b"real", b"real", stored=False), handmade.file(b"fake", b"fake", stored=False)
    )
    assert told.failed_items == ["/fake"]
    assert (tmp_path / "real").read_bytes() == b"real"


@pytest.mark.parametrize("damage", ["missing", "flip"])
def test_a_second_copy_is_used(
    *, handmade: Handmade, restore_nodes: Any, told: Any, damaged_pack: Any, tmp_path: Path, damage: str
) -> None:
    """A blob that is sound in another pack would be given up for lost."""
    handmade.pack(b"b" * 1000, b"c" * 1000, compressed=True)
    stored = damaged_pack["stored"]
    handmade.replace_pack(damaged_pack["id"], None if damage == "missing" else _flip(stored, 1500))
    restore_nodes(tmp_path, *damaged_pack["nodes"])
    assert told.failed_items == (["/first"] if damage == "missing" else [])
    assert (tmp_path / "both").read_bytes() == b"other" * 100 + b"b" * 1000
    assert (tmp_path / "third").read_bytes() == b"c" * 1000


def test_a_blob_in_no_index(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """restic gives up here; everything else can still be had."""
    restore_nodes(tmp_path, handmade.file(b"lost", b"x", b"y", stored=False), handmade.file(b"kept", b"z"))
    assert told.failed_items == ["/lost"]
    assert "in no index" in told.errors[0][1]
    assert os.listdir(tmp_path) == ["kept"]


def test_a_lost_tree(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """One lost tree costs its folder's content alone."""
    folder = handmade.folder(b"folder", handmade.file(b"in", b"in"))
    folder.subtree = BlobId(bytes(32))
    no_tree = handmade.folder(b"no tree")
    no_tree.subtree = None
    restore_nodes(tmp_path, folder, no_tree, handmade.file(b"kept", b"z"))
    assert told.failed_items == ["/folder", "/no tree"]
    assert (tmp_path / "folder").is_dir()
    assert (tmp_path / "kept").read_bytes() == b"z"


def test_hard_links_of_a_lost_file_are_named(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """The second name of a lost file is as lost as the first."""
    nodes = [handmade.file(name, b"x", b"y", stored=False) for name in (b"one", b"two")]
    for node in nodes:
        node.links, node.inode, node.device_id = 2, 7, 1
    restore_nodes(tmp_path, *nodes)
    assert told.failed_items == ["/one", "/two"]


def test_what_is_loaded(told: Any, tmp_path: Path) -> None:
    """Each pack would be loaded many times, or whole for a single file, over a slow net."""
    recording = RecordingBackend(MemoryBackend())
    handmade = Handmade(recording)
    near, far = bytes(50_000), os.urandom(2 * JOIN_GAP_BYTES)
    blobs = [b"1" * 1000, near, b"2" * 1000, far, b"3" * 1000]
    pack_id = handmade.pack(*blobs)
    nodes = [handmade.file(b"%d-%d" % (i, j), blobs[i], stored=False) for i in (0, 2, 4) for j in range(300)]
    nodes.append(handmade.file(b"all", blobs[4], blobs[0], blobs[4], stored=False))
    tree_id = handmade.tree(*nodes)
    recording.calls.clear()
    restore(handmade.repository, tree_id, tmp_path, OPTIONS, told)
    loads = [call for call in recording.calls if call.operation is Operation.LOAD and call.name == pack_id.hex()]
    seal = 32
    assert sorted((call.offset_bytes, call.length_bytes) for call in loads) == [
        (0, 2000 + len(near) + 3 * seal),
        (2000 + len(near) + len(far) + 4 * seal, 1000 + seal),
    ]
    assert (tmp_path / "all").read_bytes() == b"3" * 1000 + b"1" * 1000 + b"3" * 1000
    assert told.errors == []


def test_a_blob_larger_than_the_buffers(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """Another program may make larger blobs than restic does."""
    data = os.urandom(9_000_000)
    restore_nodes(tmp_path, handmade.file(b"large", data), handmade.file(b"two", data, b"end", stored=False))
    assert (tmp_path / "large").read_bytes() == data
    assert told.failed_items == ["/two"]


def test_one_blob_in_very_many_places(handmade: Handmade, restore_nodes: Any, told: Any, tmp_path: Path) -> None:
    """A blob that is used everywhere would keep one worker busy beyond any interrupt."""
    data = os.urandom(1_000_000)
    file = handmade.file(b"f", *[data] * 150)
    restore_nodes(tmp_path, file)
    assert told.errors == []
    assert (tmp_path / "f").read_bytes() == data * 150


def test_a_failing_storage_is_told(told: Any, tmp_path: Path) -> None:
    """A storage that fails for good must not look like success, nor stop what is there already."""
    recording = RecordingBackend(MemoryBackend())
    handmade = Handmade(recording)
    tree_id = handmade.tree(handmade.file(b"f", b"f"), handmade.folder(b"d"))
    loads_for_trees = 2
    recording.fail_after(loads_for_trees, operations=[Operation.LOAD], error=BackendError("no route", permanent=True))
    result = restore(handmade.repository, tree_id, tmp_path, OPTIONS, told)
    assert result.errors == 1
    assert told.errors[0][0] == "/f"
    assert "no route" in told.errors[0][1]
    assert recording.loaded(FileKind.PACK) > loads_for_trees


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk(handmade: Handmade, restore_nodes: Any, tmp_path: Path) -> None:
    """A full disk would show as thousands of errors, or leave files that look complete."""
    target = tmp_path / "small"
    target.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", target], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        nodes = [handmade.file(b"%d" % i, os.urandom(300_000), os.urandom(5)) for i in range(20)]
        nodes += [handmade.file(b"whole %d" % i, os.urandom(300_000)) for i in range(20)]
        with pytest.raises(LimpetError, match="no space left while writing") as raised:
            restore_nodes(target, *nodes)
        assert str(target) in str(raised.value)
        for path in target.glob("whole*"):
            assert path.stat().st_size == 300_000
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)


def test_a_worker_that_dies(handmade: Handmade, told: Any, tmp_path: Path) -> None:
    """A worker killed for want of memory would leave the restore waiting for ever, or ending as if all were well."""

    def kill_workers(event: object) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    told.item = kill_workers
    handmade.pack(b"data")
    nodes = [handmade.file(b"%d" % i, b"data", stored=False) for i in range(5000)]
    nodes += [handmade.file(b"empty %d" % i) for i in range(5000)]
    with pytest.raises(LimpetError, match="worker"):
        restore(handmade.repository, handmade.tree(*nodes), tmp_path, OPTIONS, told)


def test_ranges_hold_every_needed_blob() -> None:
    """A blob that falls between two ranges would never be restored."""
    needs = Needs()
    pack_id = bytes(32)
    expected = set()
    for i in range(500):
        blob_id = BlobId(i.to_bytes(32, "big"))
        offset = i * (JOIN_GAP_BYTES // 2 if i % 7 else 2 * JOIN_GAP_BYTES)
        needs.add(blob_id, (pack_id, offset, 1000 + i, 0), i, i * 10)
        expected.add((blob_id, offset, 1000 + i, (i, i * 10)))
    found = set()
    for part in needs.ranges(1_000_000):
        assert part.length_bytes <= 1_000_000
        for blob in part.blobs:
            assert part.offset_bytes <= blob.offset_bytes
            assert blob.offset_bytes + blob.length_bytes <= part.offset_bytes + part.length_bytes
            found |= {(blob.blob_id, blob.offset_bytes, blob.length_bytes, target) for target in blob.targets}
    assert found == expected
