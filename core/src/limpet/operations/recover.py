"""Recovers what no snapshot refers to any more: a snapshot of all folders that nothing else names."""

from __future__ import annotations

from collections.abc import Iterable

from limpet.contracts.backend import FileKind
from limpet.errors import LimpetError
from limpet.format import fields as read
from limpet.format.filemode import GO_DIR
from limpet.format.node import Node, NodeType
from limpet.format.pack import BlobKind
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import Time
from limpet.format.tree import encode_nodes
from limpet.ids import BlobId, short
from limpet.operations.origin import Origin
from limpet.operations.repair.index import repair_index
from limpet.progress import Progress, Reporter
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.repository.snapshots import StoredSnapshot

RECOVERED_PATH = "/recover"
RECOVERED_TAG = "recovered"
_MODE = GO_DIR | 0o755


def find_roots(repository: Repository, snapshots: Iterable[StoredSnapshot], reporter: Reporter) -> list[BlobId]:
    """The trees that no other tree and no snapshot names, by id; for that the index is made complete first.

    The caller holds an exclusive lock. A tree that cannot be read is told and left out; what is below it then counts as
    named by nobody.
    """
    reporter.note("ensuring index is complete")
    repair_index(repository, reporter=reporter)
    reporter.note("load index files")
    repository.refresh_index(reporter)
    trees = {BlobId(blob_id) for _, blob_id in repository.index.iterate(BlobKind.TREE)}
    reporter.note(f"load {len(trees)} trees")
    named: set[BlobId] = set()
    progress = Progress("trees loaded", files_total=len(trees), is_counter=True)
    reporter.begin(progress)
    try:
        for tree_id in _by_place(repository, trees):
            try:
                nodes = repository.load_tree_fields(tree_id)
                below = [read.identifier(node, "subtree") for node in nodes if node.get("type") == NodeType.DIR.value]
            except LimpetError as error:
                reporter.warning(f"unable to load tree {short(tree_id)}: {error}")
                continue
            named.update(BlobId(subtree) for subtree in below if subtree is not None)
            progress.files_done += 1
    finally:
        reporter.end()
    reporter.note("load snapshots")
    named.update(stored.snapshot.tree for stored in snapshots if stored.snapshot.tree is not None)
    reporter.note("done")
    return sorted(trees - named)


def save_roots(repository: Repository, roots: Iterable[BlobId], origin: Origin) -> StoredSnapshot:
    """A new snapshot with a folder for each root, named by the start of its id."""
    moment = Time(origin.time_ns)
    names: dict[bytes, BlobId] = {}
    for root in sorted(roots):
        name = short(root) if short(root).encode() not in names else root.hex()
        names[name.encode()] = root
    nodes = [Node(name, NodeType.DIR, _MODE, moment, moment, moment, subtree=names[name]) for name in sorted(names)]
    saver = BlobSaver(repository)
    try:
        tree_id = saver.save_tree(encode_nodes(nodes))
        saver.flush()
    except BaseException:
        saver.abandon()
        raise
    saver.close()
    snapshot = Snapshot(
        time=moment,
        tree=tree_id,
        paths=[RECOVERED_PATH],
        hostname=origin.hostname,
        username=origin.username,
        uid=origin.uid,
        gid=origin.gid,
        tags=[RECOVERED_TAG],
        program_version=origin.program_version,
    )
    snapshot_id = repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    return StoredSnapshot(snapshot_id, snapshot)


def _by_place(repository: Repository, trees: Iterable[BlobId]) -> list[BlobId]:
    """The trees in the order in which they are stored: they are read by the block."""

    def place(tree_id: BlobId) -> tuple[bytes, int]:
        location = repository.index.find(BlobKind.TREE, tree_id)
        return (b"", 0) if location is None else (location.pack_id, location.offset_bytes)

    return sorted(trees, key=place)
