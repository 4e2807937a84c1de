"""A new index: of packs that the old one does not name, or not as they are, their own headers are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, IntegrityError, LimpetError
from limpet.format.indexfile import encode_pack
from limpet.ids import StorageId
from limpet.operations.index_files import rewrite_indexes, save_indexes
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.pack_header import load_pack_header
from limpet.repository.repository import Repository


@dataclass(slots=True)
class RepairedIndex:
    """What was done: ids of packs whose headers were read, that are not stored, that are damaged; and index files."""

    added: list[StorageId] = field(default_factory=list)
    missing: list[StorageId] = field(default_factory=list)
    invalid: list[StorageId] = field(default_factory=list)
    removed_indexes: list[str] = field(default_factory=list)
    """Files that could not be read, or with `read_all_packs` all."""


def repair_index(
    repository: Repository, *, read_all_packs: bool = False, reporter: Reporter | None = None
) -> RepairedIndex:
    """Have the index name every stored pack that is readable, and no other. The caller holds an exclusive lock.

    With `read_all_packs` nothing of the old index is trusted.
    """
    return _Repair(repository, reporter or SilentReporter()).run(read_all_packs=read_all_packs)


class _Repair:
    def __init__(self, repository: Repository, reporter: Reporter) -> None:
        self._repository = repository
        self._reporter = reporter
        self._result = RepairedIndex()

    def run(self, *, read_all_packs: bool) -> RepairedIndex:
        repository, result = self._repository, self._result
        kept: list[str] = []
        if read_all_packs:
            repository.drop_index()
            result.removed_indexes = [info.name for info in repository.list_files(FileKind.INDEX)]
        else:
            kept = self._load_indexes()
        self._reporter.note("getting pack files to read...")
        unknown = self._compare_packs()
        if unknown:
            self._reporter.note("reading pack files")
            save_indexes(repository, self._read_headers(unknown))
        excluded = {*unknown, *result.missing}
        rewrite_indexes(repository, excluded, self._reporter, names=kept, obsolete=result.removed_indexes)
        return result

    def _load_indexes(self) -> list[str]:
        """Take in the index files that are sound; their names."""
        self._reporter.note("loading indexes...")
        self._repository.drop_index()
        names = []
        for name, json in self._repository.read_index_files():
            try:
                if isinstance(json, LimpetError):
                    raise json
                self._repository.index.add_file(json)
            except (IntegrityError, BackendError) as error:
                if isinstance(error, BackendError) and not error.permanent:
                    raise  # it may be sound
                self._reporter.warning(f"removing invalid index {name}: {error}")
                self._result.removed_indexes.append(name)
            else:
                names.append(name)
        return names

    def _compare_packs(self) -> dict[StorageId, int]:
        """The packs whose headers are to be read, with their sizes."""
        table = self._repository.index.table
        expected = table.pack_sizes()
        unknown: dict[StorageId, int] = {}
        for info in self._repository.backend.list(FileKind.PACK):
            pack_id = StorageId(bytes.fromhex(info.name))
            size = expected.pop(pack_id, None)
            if size is None:
                self._reporter.warning(f"adding pack file to index {info.name}")
            elif size != info.size_bytes:
                self._reporter.warning(
                    f"reindexing pack file {info.name} with unexpected size {info.size_bytes} instead of {size}"
                )
            if size != info.size_bytes:
                unknown[pack_id] = info.size_bytes
        for lost in expected:
            self._reporter.warning(f"removing not found pack file {lost.hex()}")
            self._result.missing.append(StorageId(lost))
        return unknown

    def _read_headers(self, packs: Mapping[StorageId, int]) -> Iterator[bytes]:
        """The JSON of each pack that is readable."""
        progress = Progress("packs", files_total=len(packs), is_counter=True)
        self._reporter.begin(progress)
        connections = max(1, self._repository.backend.properties.connections)
        try:
            with ThreadPoolExecutor(connections, "limpet-headers") as threads:
                reading: deque[tuple[StorageId, Future[bytes | None]]] = deque()
                for pack_id, size in packs.items():
                    reading.append((pack_id, threads.submit(self._read_header, pack_id, size)))
                    if len(reading) > 2 * connections:
                        yield from self._take(*reading.popleft(), progress)
                while reading:
                    yield from self._take(*reading.popleft(), progress)
        finally:
            self._reporter.end()
        for pack_id in self._result.invalid:
            self._reporter.note(f"skipped incomplete pack file: {pack_id.hex()}", verbosity=2)

    def _take(self, pack_id: StorageId, read: Future[bytes | None], progress: Progress) -> Iterator[bytes]:
        json = read.result()
        progress.files_done += 1
        if json is None:
            self._result.invalid.append(pack_id)
        else:
            self._result.added.append(pack_id)
            yield json

    def _read_header(self, pack_id: StorageId, size_bytes: int) -> bytes | None:
        """None for a pack that is damaged."""
        try:
            return encode_pack(pack_id, load_pack_header(self._repository, pack_id, size_bytes))
        except IntegrityError:
            return None
        except BackendError as error:
            if not error.permanent:
                raise  # its blobs would be left out of the index although they may be sound
            return None
