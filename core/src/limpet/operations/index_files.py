"""Index files written anew: without some packs, small ones joined, oversized ones split, each pack in one of them.

What the files say is taken over pack by pack; the repository's index in memory takes no part, and is dropped. The new
files are stored before the old ones are removed, so at every moment the files name all that they named before, but for
the packs that are left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, LimpetError
from limpet.format.indexfile import MAX_BLOBS
from limpet.format.pack import MAX_HEADER_ENTRIES
from limpet.ids import StorageId
from limpet.operations.removal import remove_files
from limpet.progress import Progress, Reporter
from limpet.repository.blob_index import BlobIndex
from limpet.repository.repository import Repository

OVERSIZED_BLOBS = MAX_BLOBS + MAX_HEADER_ENTRIES
"""No writer that puts whole packs into an index until it is full comes to so many."""
SAVES_AT_ONCE = 2

_BLOB_START = b'"offset":'
_NO_BLOBS = b'"blobs":[]}'


def rewrite_indexes(
    repository: Repository,
    excluded: Collection[bytes],
    reporter: Reporter,
    *,
    names: Iterable[str] | None = None,
    obsolete: Iterable[str] = (),
) -> None:
    """Leave the excluded packs out of the index files with these names (all that are loaded), and tidy those up.

    The `obsolete` files are removed, too. The caller holds an exclusive lock. BackendError if a new file cannot be
    stored (then nothing is lost) or an old one not removed.
    """
    chosen = sorted(repository.index_names if names is None else names)
    repository.drop_index()
    reporter.note("rebuilding index")
    progress = Progress("indexes processed", files_total=len(chosen), is_counter=True)
    reporter.begin(progress)
    rewriter = _Rewriter(repository, excluded)
    try:
        for name, json in repository.read_files(FileKind.INDEX, chosen):
            if isinstance(json, LimpetError):
                raise json
            rewriter.take(name, json)
            progress.files_done += 1
        rewriter.finish()
    finally:
        rewriter.close()
        reporter.end()
    _remove_old(repository, sorted({*rewriter.replaced, *obsolete}), reporter)


def save_indexes(repository: Repository, packs: Iterable[bytes]) -> None:
    """Store index files of these packs, each as JSON of an index file."""
    writer = _Writer(repository)
    try:
        for json in packs:
            writer.add(json)
        writer.finish()
    finally:
        writer.close()


class _Rewriter:
    """Takes index files one after the other and says in the end which have been replaced."""

    def __init__(self, repository: Repository, excluded: Collection[bytes]) -> None:
        self._excluded = excluded
        self._writer = _Writer(repository)
        # By what is said of a pack, not by its id: before 0.10 restic could say a part of it in each of two indexes.
        self._seen: set[bytes] = set()
        self.replaced: list[str] = []

    def take(self, name: str, json: bytes) -> None:
        one = BlobIndex()
        one.add_file(json)
        packs = list(self._packs(one))
        digests = [sha256(pack).digest() for pack in packs]
        is_full = MAX_BLOBS <= len(one) < OVERSIZED_BLOBS and json.startswith(b"{")  # not the list of old, either
        if is_full and len(packs) == one.table.pack_count() and self._seen.isdisjoint(digests):
            self._seen.update(digests)
            return
        self.replaced.append(name)
        for pack, digest in zip(packs, digests, strict=True):
            if digest not in self._seen:
                self._seen.add(digest)
                self._writer.add(pack)

    def finish(self) -> None:
        self._writer.finish()

    def close(self) -> None:
        self._writer.close()

    def _packs(self, one: BlobIndex) -> Iterator[bytes]:
        table, excluded = one.table, self._excluded
        for number in range(table.pack_count()):
            if table.pack_id(number) not in excluded:
                json = table.pack_json(number)
                if not json.endswith(_NO_BLOBS):
                    yield json


class _Writer:
    """Stores packs' JSON in index files, each as soon as it is full."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._threads = ThreadPoolExecutor(SAVES_AT_ONCE, "limpet-index")
        self._saving: deque[Future[StorageId]] = deque()
        self._packs: list[bytes] = []
        self._blobs = 0

    def add(self, pack: bytes) -> None:
        self._packs.append(pack)
        self._blobs += pack.count(_BLOB_START)
        if self._blobs >= MAX_BLOBS:
            self._save()

    def finish(self) -> None:
        """Return when all is stored."""
        if self._packs:
            self._save()
        while self._saving:
            self._saving.popleft().result()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _save(self) -> None:
        json = b'{"packs":[' + b",".join(self._packs) + b"]}\n"
        self._packs, self._blobs = [], 0
        self._saving.append(self._threads.submit(self._repository.save_unpacked, FileKind.INDEX, json))
        if len(self._saving) > SAVES_AT_ONCE:  # an index is 8 MiB: only so many at once
            self._saving.popleft().result()


def _remove_old(repository: Repository, names: Collection[str], reporter: Reporter) -> None:
    def removed(handle: Handle, error: BackendError | None) -> None:
        if error is not None:
            reporter.note(f"failed to remove index {handle.name}: {error}", verbosity=3)
            raise error
        reporter.note(f"removed index {handle.name}", verbosity=3)

    repository.confirm_lock()
    remove_files(repository, FileKind.INDEX, names, reporter, removed, what="old indexes deleted")
