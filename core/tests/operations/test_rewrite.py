"""Snapshots made anew: what rules change, what they leave alone, what is refused, and what a crash leaves behind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest
from limpet import repair_snapshots, rewrite
from limpet.contracts.backend import Content, FileKind, Handle
from limpet.errors import BackendError, IntegrityError, LimpetError, RepositoryError
from limpet.format.fields import Fields
from limpet.format.filemode import NodeType
from limpet.format.node import Node, encode_node
from limpet.format.pack import BlobKind
from limpet.format.snapshot import Protection, Snapshot, SnapshotSummary, encode_snapshot
from limpet.format.timestamps import Time
from limpet.format.tree import encode_tree
from limpet.ids import BlobId
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.operations.rewrite import NewMetadata, Outcome, RewriteOptions, SnapshotRewriter, TreeRewriter
from limpet.operations.walk import walk
from limpet.progress import SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot, load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import CrashError, Operation, RecordingBackend
from limpet.testing.backups import PASSWORD, BackupScene
from limpet.testing.handmade import A_TIME, Handmade, chain

FORGOTTEN = frozenset({Operation.SAVE, Operation.REMOVE})


class Notes(SilentReporter):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """Keep it."""
        self.notes.append(text)


class Rules:
    """Changes nothing but what a test overrides."""

    refuses_lossy: ClassVar[bool] = True
    ignores_paths: ClassVar[bool] = False

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def node(self, path: bytes, fields: Fields) -> Fields | None:
        """As it is."""
        self.paths.append(path)
        return fields

    def keeps_empty(self, path: bytes) -> bool:
        """Always."""
        return True

    def replaces_unreadable(self, path: bytes, error: LimpetError) -> bool:
        """Never."""
        raise error


class Saved:
    """Trees that a rewriter stores."""

    def __init__(self) -> None:
        self.trees: list[bytes] = []

    def save(self, data: bytes) -> BlobId:
        """Keep it."""
        self.trees.append(data)
        return BlobId(sha256(data).digest())


def snapshot_of(repository: Repository, tree: BlobId | None, **more: object) -> StoredSnapshot:
    """A stored snapshot of the tree."""
    snapshot = replace(Snapshot(A_TIME, tree, ["/x"], hostname="h", username="u"), **more)  # type: ignore[arg-type]
    return StoredSnapshot(repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot)), snapshot)


def paths_in(repository: Repository, tree: BlobId | None) -> list[str]:
    """Everything below the tree."""
    assert tree is not None
    return [os.fsdecode(path) for path, _ in walk(repository, tree)]


def index_all(made: Handmade) -> None:
    """Store an index of all packs, for other processes."""
    repository = made.repository
    repository.save_index([(pack, repository.index.pack_blobs(pack)) for pack in repository.index.pack_ids()])


def problems(repository: Repository) -> list[str]:
    """What a check of all data finds."""
    again = Repository.open(repository.backend, PASSWORD)
    return [str(error) for error in check(again, CheckOptions(EveryPack())).errors]


# -- trees -----------------------------------------------------------------------------------------------------------


def test_nothing_changed_means_the_same_tree(handmade: Handmade) -> None:
    """Names that JSON escapes, unknown fields, odd nodes: a tree that nobody touches must keep its id."""
    odd = Node(b"odd <&>\xff\xe2\x80\xa8", NodeType.SYMLINK, link_target=b"\xff", mtime=Time(-1, 3600))
    more = Node(b"zz", NodeType.FILE, content=[], extra={"of another program": [1, {"a": None}]})
    root = handmade.tree(handmade.folder(b"a", handmade.file(b"f", b"content"), odd), handmade.folder(b"b"), more)
    saved, rules = Saved(), Rules()
    assert TreeRewriter(handmade.repository, saved.save, rules).rewrite(root) == root
    assert saved.trees == []
    assert rules.paths == [b"/a", b"/a/f", b"/a/odd <&>\xff\xe2\x80\xa8", b"/b", b"/zz"]


def test_what_stays_keeps_its_bytes(handmade: Handmade) -> None:
    """Leaving out one file must not change a byte of any other, not even of fields that Limpet does not know."""

    class WithoutGone(Rules):
        def node(self, path: bytes, fields: Fields) -> Fields | None:
            return None if path.endswith(b"/gone") else fields

    kept = Node(b"kept\xff<", NodeType.FILE, 0o600, A_TIME, content=[], extra={"x": "\u2028"})
    gone = Node(b"gone", NodeType.FILE, content=[])
    folder = handmade.folder(b"folder", gone, kept)
    root = handmade.tree(folder)
    saved = Saved()
    new = TreeRewriter(handmade.repository, saved.save, WithoutGone()).rewrite(root)
    inner = encode_tree([encode_node(kept)])
    outer = encode_tree([encode_node(replace(folder, subtree=BlobId(sha256(inner).digest())))])
    assert saved.trees == [inner, outer]
    assert new == sha256(outer).digest()


@pytest.mark.parametrize(
    "data",
    [
        b'{"nodes":[],"more":1}\n',
        b'{"nodes":[]}',
        b'{"nodes": []}\n',
        b'{"nodes":[{"name":"a","name":"b","type":"file"}]}\n',
        b'{"nodes":[{"name":"a","type":"file","mode":1e3}]}\n',
    ],
)
def test_a_tree_that_would_lose_something_is_refused(handmade: Handmade, data: bytes) -> None:
    """What a newer program has stored must not vanish without a word; restic refuses as well."""
    handmade.pack(data, kind=BlobKind.TREE, compressed=True)
    inner = BlobId(sha256(data).digest())
    root = handmade.tree(Node(b"dir", NodeType.DIR, subtree=inner))
    stored = snapshot_of(handmade.repository, root)
    with (
        SnapshotRewriter(handmade.repository, RewriteOptions(summary=True, dry_run=True)) as rewriter,
        pytest.raises(IntegrityError, match='cannot encode tree at "/dir" without losing information'),
    ):
        rewriter.rewrite(stored)
    assert [one.id for one in load_snapshots(handmade.repository)] == [stored.id]


def test_folders_deeper_than_any_stack(handmade: Handmade) -> None:
    """A path of thousands of folders must not end in a stack overflow."""
    names = [b"%d" % number for number in range(3000)]
    root = handmade.tree(chain(handmade, names, handmade.file(b"f", b"x")))
    rules = Rules()
    assert TreeRewriter(handmade.repository, Saved().save, rules).rewrite(root) == root
    assert len(rules.paths) == 3001


def test_a_storage_that_does_not_answer_is_no_damage(handmade: Handmade) -> None:
    """A repair in a bad hour of the network would throw away whole folders."""
    recording = RecordingBackend(handmade.repository.backend)
    root = handmade.tree(handmade.folder(b"a", handmade.file(b"f", b"x")))
    snapshot_of(handmade.repository, root)
    index_all(handmade)
    repository = Repository.open(recording, "handmade")
    repository.load_index()
    stored = load_snapshots(repository)
    recording.fail_after(0, operations=[Operation.LOAD])
    with pytest.raises(BackendError):
        repair_snapshots(repository, stored, dry_run=True)


# -- rewrite ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def scene(tmp_path: Path) -> BackupScene:
    """Two snapshots of a few files."""
    scene = BackupScene(tmp_path / "work")
    for name in ("a/keep", "a/secret", "b/secret", "c/d/other"):
        path = scene.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 3)
    scene.backup()
    (scene.folder / "late").write_text("late")
    scene.backup(tags=["second"])
    return scene


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ({"exclude": ["secret"]}, ["a", "a/keep", "b", "c", "c/d", "c/d/other"]),
        ({"exclude": ["a", "d"]}, ["b", "b/secret", "c"]),
        ({"include": ["secret"]}, ["a", "a/secret", "b", "b/secret"]),
        ({"include": ["d"]}, ["c", "c/d", "c/d/other"]),
    ],
)
def test_files_left_out(scene: BackupScene, patterns: dict[str, Sequence[str]], left: list[str]) -> None:
    """A file that was to be removed from all backups must be gone, and nothing else with it."""
    first = scene.snapshots()[0]
    (replacement,) = rewrite(scene.open(), [first], **patterns)  # type: ignore[arg-type]
    assert replacement.new is not None
    new = replacement.new.snapshot
    prefix = "/" + scene.folder.name
    assert paths_in(scene.open(), new.tree) == [prefix, *(f"{prefix}/{name}" for name in left)]
    assert (new.original, new.tags, new.time) == (first.id, ["rewrite"], first.snapshot.time)
    files = [name for name in left if (scene.folder / name).is_file()]
    assert new.summary is not None
    assert new.summary.total_files_processed == len(files)
    assert new.summary.total_bytes_processed == sum((scene.folder / name).stat().st_size for name in files)
    assert len(scene.snapshots()) == 3
    assert problems(scene.open()) == []


def test_a_pattern_that_fits_nothing_changes_nothing(scene: BackupScene) -> None:
    """A rewrite that runs each night would otherwise make a new snapshot of each old one each night."""
    before = scene.stored(FileKind.SNAPSHOT)
    done = rewrite(scene.open(), exclude=["nosuch"], forget=True)
    done += rewrite(scene.open(), include=["nosuch"], forget=True)
    assert {one.outcome for one in done} == {Outcome.UNCHANGED}
    assert scene.stored(FileKind.SNAPSHOT) == before


def test_metadata_alone_stores_no_data(scene: BackupScene) -> None:
    """Another host and time; all else, unknown fields too, stays as it was."""
    repository = scene.open()
    stored = scene.snapshots()[1]
    foreign = replace(stored.snapshot, extra={"label": 7}, description="why")
    repository.remove_unpacked(FileKind.SNAPSHOT, stored.id)
    named = repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(foreign))
    packs = scene.stored(FileKind.PACK)
    time = Time(1_000_000_000_000_000_000, 0)
    metadata = NewMetadata("elsewhere", time)
    (replacement,) = rewrite(scene.open(), [StoredSnapshot(named, foreign)], metadata=metadata, forget=True)
    assert scene.stored(FileKind.PACK) == packs
    new = next(one for one in scene.snapshots() if replacement.new and one.id == replacement.new.id)
    expected = replace(foreign, hostname="elsewhere", time=time, original=named)
    assert new.snapshot == expected
    assert named.hex() not in scene.stored(FileKind.SNAPSHOT)


def test_a_dry_run_writes_nothing(scene: BackupScene) -> None:
    """What only asks what would be must not change a byte, and needs no lock."""
    scene.backend.calls.clear()
    done = rewrite(scene.open(), exclude=["secret"], forget=True, dry_run=True)
    done += repair_snapshots(scene.open(), dry_run=True)
    assert [one.outcome for one in done] == [Outcome.REPLACED] * 2 + [Outcome.UNCHANGED] * 2
    assert all(one.new is None for one in done)
    assert scene.backend.saved() == scene.backend.removed() == 0


def test_a_missing_summary_is_made(scene: BackupScene) -> None:
    """Snapshots of old programs show no size until somebody counts."""
    repository = scene.open()
    old = replace(scene.snapshots()[0].snapshot, summary=None)
    stored = StoredSnapshot(repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(old)), old)
    with SnapshotRewriter(repository, RewriteOptions(summary=True, forget=True)) as rewriter:
        first = rewriter.rewrite(stored)
        assert first.new is not None
        again = rewriter.rewrite(first.new)
    assert again.outcome is Outcome.UNCHANGED
    size = sum(path.stat().st_size for path in scene.folder.rglob("*") if path.is_file() and path.name != "late")
    assert first.new.snapshot.summary == SnapshotSummary(total_files_processed=4, total_bytes_processed=size)


def test_a_protected_snapshot_is_not_removed(scene: BackupScene) -> None:
    """Protection that a rewrite gets around protects nobody."""
    repository = scene.open()
    protected = replace(scene.snapshots()[0].snapshot, protection=Protection())
    stored = StoredSnapshot(repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(protected)), protected)
    before = scene.stored(FileKind.SNAPSHOT)
    with pytest.raises(RepositoryError, match="is protected and stays"):
        rewrite(scene.open(), [stored], exclude=["secret"], forget=True)
    assert scene.stored(FileKind.SNAPSHOT) == before
    (kept,) = rewrite(scene.open(), [stored], exclude=["secret"])
    assert kept.new is not None
    assert kept.new.snapshot.protection == Protection()


def test_every_crash_of_a_rewrite_leaves_a_sound_repository(scene: BackupScene) -> None:
    """Trees, their index, the new snapshot, and only then the old one goes: whatever is killed, nothing is lost."""
    stored = {info.name for info in scene.backend.list(FileKind.SNAPSHOT)}
    files = {
        Handle(kind, info.name): scene.backend.load(Handle(kind, info.name))
        for kind in FileKind
        if kind is not FileKind.CONFIG
        for info in list(scene.backend.list(kind))
    }
    files[Handle(FileKind.CONFIG)] = scene.backend.load(Handle(FileKind.CONFIG))
    total = 0
    while True:
        recording = RecordingBackend(_memory(files))
        recording.stop_after(total, operations=FORGOTTEN)
        try:
            rewrite(Repository.open(recording, PASSWORD), exclude=["secret"], forget=True)
            crashed = False
        except CrashError:
            crashed = True
        recording.heal()
        for info in list(recording.list(FileKind.LOCK)):
            recording.remove(Handle(FileKind.LOCK, info.name))
        repository = Repository.open(recording, PASSWORD)
        assert problems(repository) == []
        left = load_snapshots(repository)
        originals = {one.id.hex() for one in left} | {
            one.snapshot.original.hex() for one in left if one.snapshot.original
        }
        assert originals >= stored
        if not crashed:
            break
        total += 1
    kinds = [(call.operation, call.kind) for call in recording.calls if call.operation in FORGOTTEN]
    one = [
        (Operation.SAVE, FileKind.PACK),
        (Operation.SAVE, FileKind.INDEX),
        (Operation.SAVE, FileKind.SNAPSHOT),
        (Operation.REMOVE, FileKind.SNAPSHOT),
    ]
    assert [kind for kind in kinds if kind[1] is not FileKind.LOCK] == one * 2


def _memory(files: dict[Handle, bytes]) -> MemoryBackend:
    backend = MemoryBackend()
    for handle, data in files.items():
        backend.save(handle, Content(memoryview(data), sha256(data).digest()))
    return backend


# -- repair ----------------------------------------------------------------------------------------------------------


def test_what_is_lost_is_taken_out(handmade: Handmade) -> None:
    """Missing content, a wrong size, a lost folder, a node that is nothing: each told, the rest as it was."""
    missing = BlobId(bytes(32))
    parts = [b"first", b"second"]
    broken = handmade.file(b"broken", *parts)
    assert broken.content is not None
    broken.content.insert(1, missing)
    short = handmade.file(b"short", b"12345")
    short.size = 4
    lost = Node(b"lost", NodeType.DIR, subtree=missing)
    without = Node(b"without", NodeType.DIR)
    whole = handmade.folder(b"whole", handmade.file(b"f", b"f"))
    nothing = Node(b"zero", NodeType.IRREGULAR)
    root = handmade.tree(broken, lost, short, whole, without, nothing)
    snapshot_of(handmade.repository, root)
    index_all(handmade)
    notes = Notes()
    (replacement,) = repair_snapshots(handmade.repository, reporter=notes)
    assert notes.notes == [
        '  file "/broken": removed missing content',
        '  dir "/lost": replaced with empty directory',
        '  file "/short": fixed incorrect size',
        '  dir "/without": replaced with empty directory',
        '  file "/zero": removed node with invalid type "irregular"',
    ]
    assert replacement.new is not None
    assert replacement.new.snapshot.tags == ["repaired"]
    handmade.repository.refresh_index()
    tree = replacement.new.snapshot.tree
    assert tree is not None
    nodes = {node.name: node for node in handmade.repository.load_tree(tree)}
    assert sorted(nodes) == [b"broken", b"lost", b"short", b"whole", b"without"]
    assert nodes[b"broken"].content == [sha256(part).digest() for part in parts]
    assert nodes[b"broken"].size == 11
    assert nodes[b"short"].size == 5
    assert nodes[b"whole"] == whole
    assert nodes[b"lost"].subtree == nodes[b"without"].subtree == sha256(encode_tree(())).digest()


def test_a_snapshot_without_a_root_is_removed(handmade: Handmade) -> None:
    """Nothing of it can be restored, and every check would go on about it; restic removes it as well."""
    lost = snapshot_of(handmade.repository, BlobId(bytes(32)))
    protected = snapshot_of(handmade.repository, BlobId(bytes(32)), protection=Protection())
    index_all(handmade)
    assert repair_snapshots(handmade.repository, [lost])[0].outcome is Outcome.EMPTIED
    with pytest.raises(RepositoryError, match="is protected and stays"):
        repair_snapshots(handmade.repository, [protected])
    assert [one.id for one in load_snapshots(handmade.repository)] == [protected.id]


def test_a_sound_snapshot_is_not_touched(scene: BackupScene) -> None:
    """A repair of what is whole must not make new snapshots."""
    before = scene.stored(FileKind.SNAPSHOT)
    assert {one.outcome for one in repair_snapshots(scene.open(), forget=True)} == {Outcome.UNCHANGED}
    assert scene.stored(FileKind.SNAPSHOT) == before
