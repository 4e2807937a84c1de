"""Stats: how large snapshots are, counted in one of four ways.

A tree that was seen is not walked again: what it adds to the sums is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

from limpet.errors import IntegrityError, LimpetError, RepositoryError
from limpet.format import fields as read
from limpet.format.crypto import SEAL_OVERHEAD
from limpet.format.fields import Fields
from limpet.format.node import raw_name, subtree_of
from limpet.format.pack import BlobKind
from limpet.ids import BlobId, short
from limpet.operations.used_blobs import find_used_blobs
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot


class CountMode(Enum):
    """What is counted; the value is restic's word."""

    RESTORE_SIZE = "restore-size"
    """What a restore of each snapshot would write; of hard links one is counted."""
    FILES_BY_CONTENTS = "files-by-contents"
    """Files with the same content once, in all snapshots together."""
    BLOBS_PER_FILE = "blobs-per-file"
    """The blobs of files with different content; a blob counts for each file that has it."""
    RAW_DATA = "raw-data"
    """The blobs as they are stored, each once."""


@dataclass(slots=True)
class Stats:
    """The sums. Sizes in bytes; those of compression only for RAW_DATA, in repositories that compress."""

    snapshots: int = 0
    files: int = 0
    blobs: int = 0
    size_bytes: int = 0
    uncompressed_bytes: int = 0
    """Size of all blobs if none were compressed."""
    compressed_blobs_bytes: int = 0
    compressed_blobs_plain_bytes: int = 0

    @property
    def compression_ratio(self) -> float:
        """How many times smaller the compressed blobs are; 0 if there are none."""
        stored = self.compressed_blobs_bytes
        return self.compressed_blobs_plain_bytes / stored if stored else 0.0

    @property
    def compression_progress(self) -> float:
        """How much of the data is compressed, in percent."""
        whole = self.uncompressed_bytes
        return self.compressed_blobs_plain_bytes / whole * 100 if whole else 0.0

    @property
    def compression_space_saving(self) -> float:
        """How much less is stored than without compression, in percent."""
        return (1 - self.size_bytes / self.uncompressed_bytes) * 100 if self.uncompressed_bytes else 0.0


@dataclass(slots=True)
class StatsProgress:
    """How far the count is: entries, blobs and bytes of the snapshot at hand."""

    snapshots_total: int = 0
    snapshots: int = 0
    entries: int = 0
    blobs: int = 0
    size_bytes: int = 0


def stats(
    repository: Repository,
    snapshots: Sequence[StoredSnapshot],
    mode: CountMode = CountMode.RESTORE_SIZE,
    progress: StatsProgress | None = None,
) -> Stats:
    """The sums over the snapshots. The index is loaded before. Errors as `load_tree`, naming the snapshot's tree."""
    progress = progress or StatsProgress()
    progress.snapshots_total = len(snapshots)
    result = Stats()
    if mode is CountMode.RAW_DATA:
        _count_raw(repository, snapshots, result, progress)
        return result
    count = {
        CountMode.RESTORE_SIZE: _RestoreSize,
        CountMode.FILES_BY_CONTENTS: _FilesByContents,
        CountMode.BLOBS_PER_FILE: _BlobsPerFile,
    }[mode](repository, result, progress)
    for stored in snapshots:
        _begin(stored, result, progress)
        count.snapshot(_root(stored))
    return result


def _begin(stored: StoredSnapshot, result: Stats, progress: StatsProgress) -> None:
    progress.snapshots += 1
    progress.entries = progress.blobs = progress.size_bytes = 0
    _root(stored)
    result.snapshots += 1


def _root(stored: StoredSnapshot) -> BlobId:
    if stored.snapshot.tree is None:
        raise RepositoryError(f"snapshot {short(stored.id)} has nil tree")
    return stored.snapshot.tree


Link = tuple[int, int, int]
"""Inode and device number, and size."""


@dataclass(slots=True)
class _Sums:
    """What a folder adds: to the progress, and to the sum of restore sizes, without hard links."""

    entries: int = 0
    size_bytes: int = 0
    unlinked_bytes: int = 0
    links: list[Link] = field(default_factory=list)

    def add(self, other: _Sums) -> None:
        self.entries += other.entries
        self.size_bytes += other.size_bytes
        self.unlinked_bytes += other.unlinked_bytes
        self.links += other.links


class _Walk:
    """Visits each tree once and adds up what is below it."""

    needs_path = False

    def __init__(self, repository: Repository, result: Stats, progress: StatsProgress) -> None:
        self._repository = repository
        self._result = result
        self._progress = progress
        self._known: dict[BlobId, _Sums] = {}

    def snapshot(self, root: BlobId) -> None:
        """Count a snapshot."""
        try:
            sums = self._walk(root)
        except LimpetError as error:
            raise error.saying(f"error walking snapshot: walking tree {root.hex()}: {error}") from error
        self.add_snapshot(sums)

    def add_snapshot(self, sums: _Sums) -> None:
        """Take over the sums of a whole snapshot."""

    def visit(self, path: bytes, tree_id: BlobId, fields: Fields, size_bytes: int, sums: _Sums) -> None:
        """Count an entry of a tree that is seen for the first time."""
        raise NotImplementedError

    def _walk(self, root: BlobId) -> _Sums:
        progress = self._progress
        if root in self._known:
            return self._known_again(root)
        stack = [(b"/", root, self._repository.iter_tree_fields(root), _Sums())]
        while True:
            prefix, tree_id, nodes, sums = stack[-1]
            for fields in nodes:
                size_bytes = read.uint(fields, "size")
                sums.entries += 1
                sums.size_bytes += size_bytes
                progress.entries += 1
                progress.size_bytes += size_bytes
                self.visit(prefix, tree_id, fields, size_bytes, sums)
                if fields.get("type") != "dir":
                    continue
                subtree = subtree_of(fields)
                if subtree is None:
                    raise IntegrityError(f"subtree for node {fields.get('name')} in tree {tree_id.hex()} is nil")
                if subtree in self._known:
                    sums.add(self._known_again(subtree))
                    continue
                path = prefix + raw_name(fields) + b"/" if self.needs_path else b""
                stack.append((path, subtree, self._repository.iter_tree_fields(subtree), _Sums()))
                break
            else:
                stack.pop()
                self._known[tree_id] = sums
                if not stack:
                    return sums
                stack[-1][3].add(sums)

    def _known_again(self, tree_id: BlobId) -> _Sums:
        sums = self._known[tree_id]
        self._progress.entries += sums.entries
        self._progress.size_bytes += sums.size_bytes
        return sums


class _RestoreSize(_Walk):
    """Every entry counts in every snapshot, of hard links the first."""

    def visit(self, path: bytes, tree_id: BlobId, fields: Fields, size_bytes: int, sums: _Sums) -> None:
        if not size_bytes:
            return
        inode = read.uint(fields, "inode")
        if read.uint(fields, "links") == 1 or fields.get("type") == "dir" or not inode:
            sums.unlinked_bytes += size_bytes
        else:
            sums.links.append((inode, read.uint(fields, "device_id"), size_bytes))

    def add_snapshot(self, sums: _Sums) -> None:
        self._result.files += sums.entries
        self._result.size_bytes += sums.unlinked_bytes
        seen: set[tuple[int, int]] = set()
        for inode, device, size_bytes in sums.links:
            if (inode, device) not in seen:
                seen.add((inode, device))
                self._result.size_bytes += size_bytes


class _FilesByContents(_Walk):
    """Entries with the same list of blobs count once. As in restic, all without content are one."""

    def __init__(self, repository: Repository, result: Stats, progress: StatsProgress) -> None:
        super().__init__(repository, result, progress)
        self._contents: set[bytes] = set()

    def is_new(self, content: Sequence[str]) -> bool:
        """Whether nothing with this content was seen before."""
        # A digest takes less memory than the list.
        key = blake2b("".join(content).encode(), digest_size=16).digest()
        if key in self._contents:
            return False
        self._contents.add(key)
        return True

    def visit(self, path: bytes, tree_id: BlobId, fields: Fields, size_bytes: int, sums: _Sums) -> None:
        if self.is_new(read.array(fields, "content") or ()):
            self._result.files += 1
            self._result.size_bytes += size_bytes


class _BlobsPerFile(_FilesByContents):
    """Of entries with different content all blobs count, once for each path."""

    needs_path = True

    def __init__(self, repository: Repository, result: Stats, progress: StatsProgress) -> None:
        super().__init__(repository, result, progress)
        self._blobs: dict[bytes, tuple[str, ...]] = {}

    def visit(self, path: bytes, tree_id: BlobId, fields: Fields, size_bytes: int, sums: _Sums) -> None:
        content = read.array(fields, "content") or ()
        if not self.is_new(content) or not content:
            return
        self._progress.blobs += len(content)
        key = blake2b(path + raw_name(fields), digest_size=16).digest()
        counted = self._blobs.get(key)
        if counted is None:
            self._result.files += 1
        fresh = dict.fromkeys(one for one in content if not counted or one not in counted)
        for blob_hex in fresh:
            place = self._repository.index.find(BlobKind.DATA, BlobId(read.id_from_hex(blob_hex)))
            if place is None:
                raise RepositoryError(f"blob {blob_hex} not found for tree {tree_id.hex()}")
            self._result.size_bytes += place.data_length_bytes
        self._result.blobs += len(fresh)
        self._blobs[key] = (*(counted or ()), *fresh)


def _count_raw(
    repository: Repository, snapshots: Sequence[StoredSnapshot], result: Stats, progress: StatsProgress
) -> None:
    for stored in snapshots:
        _begin(stored, result, progress)
    used = find_used_blobs(repository, [_root(stored) for stored in snapshots])
    if used.missing:
        raise RepositoryError(f"blob <data/{min(used.missing).hex()[:8]}> not found")
    compresses = repository.config.version > 1
    table = repository.index.table
    for kind, blob_id, pack in table.iterate(None):
        place = table.find(kind, blob_id) if used.contains(BlobKind(kind), BlobId(blob_id)) else None
        if place is None or place[0] != table.pack_id(pack):
            continue  # unused, or another copy
        _, _, length, plain_length = place
        progress.blobs += 1
        progress.size_bytes += length
        result.blobs += 1
        result.size_bytes += length
        if compresses:
            full_length = plain_length + SEAL_OVERHEAD if plain_length else length
            result.uncompressed_bytes += full_length
            if plain_length:
                result.compressed_blobs_bytes += length
                result.compressed_blobs_plain_bytes += full_length
