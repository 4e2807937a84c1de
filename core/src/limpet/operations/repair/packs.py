"""Damaged packs: what can still be read of them goes into new ones, and they are removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, IntegrityError, LimpetError, UsageError
from limpet.format.pack import PackedBlob
from limpet.ids import BlobId, StorageId
from limpet.operations.index_files import rewrite_indexes
from limpet.operations.removal import remove_files
from limpet.progress import Progress, Reporter, SilentReporter
from limpet.repository.pack_header import load_pack_header
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.repository.sealing import Sealer

KeepCopy = Callable[[StorageId, bytes], None]
"""Puts a pack's bytes, damaged as they are, in some safe place before anything is changed."""


@dataclass(slots=True)
class RepairedPacks:
    """How many blobs were saved, and which are lost."""

    saved: int = 0
    lost: list[BlobId] = field(default_factory=list)


def repair_packs(
    repository: Repository,
    pack_ids: Collection[StorageId],
    keep_copy: KeepCopy | None = None,
    reporter: Reporter | None = None,
) -> RepairedPacks:
    """Save what is readable of the packs, and remove them from the index and the repository.

    The caller holds an exclusive lock; the index is loaded here. Packs that are missing leave the index, too.
    """
    repository.load_whole_index()
    chosen = sorted(set(pack_ids))
    repair = _Repair(repository, reporter or SilentReporter())
    if keep_copy is not None:
        repair.keep_copies(chosen, keep_copy)
    return repair.run(chosen)


def write_copy(folder: Path, pack_id: StorageId, data: bytes) -> None:
    """Put the pack's bytes into `pack-ID` in the folder; UsageError if that is there, for it may be a better copy."""
    path = folder / f"pack-{pack_id.hex()}"
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(
            f"cannot keep a copy of the pack as {path}: {error.strerror}; choose a folder that is writable and has no "
            "such file"
        ) from error


class _Repair:
    def __init__(self, repository: Repository, reporter: Reporter) -> None:
        self._repository = repository
        self._reporter = reporter
        self._result = RepairedPacks()

    def keep_copies(self, pack_ids: Iterable[StorageId], keep_copy: KeepCopy) -> None:
        self._reporter.note("saving backup copies of pack files to current folder")
        for pack_id in pack_ids:
            try:
                data = self._load(pack_id)
            except BackendError as error:
                self._reporter.warning(f"will remove packfile {pack_id.hex()} due to failed download: {error}")
            else:
                keep_copy(pack_id, data)

    def run(self, pack_ids: Collection[StorageId]) -> RepairedPacks:
        self._reporter.note("salvaging intact data from specified pack files")
        self._salvage(pack_ids)
        rewrite_indexes(self._repository, set(pack_ids), self._reporter)
        self._reporter.note("removing salvaged pack files")
        self._repository.confirm_lock()
        names = [pack_id.hex() for pack_id in pack_ids]
        remove_files(self._repository, FileKind.PACK, names, self._reporter, self._removed)
        return self._result

    def _salvage(self, pack_ids: Collection[StorageId]) -> None:
        headers = self._headers(set(pack_ids))
        progress = Progress("pack files", files_total=len(pack_ids), is_counter=True)
        saver = BlobSaver(self._repository, worker_count=1, workers_seal_trees=True)
        self._reporter.begin(progress)
        try:
            for pack_id in pack_ids:
                self._salvage_pack(saver, pack_id, headers.get(pack_id))
                progress.files_done += 1
            saver.flush()
        except BaseException:
            saver.abandon()
            raise
        finally:
            self._reporter.end()
        saver.close()

    def _headers(self, wanted: Collection[StorageId]) -> dict[StorageId, list[PackedBlob]]:
        """What the headers of the stored packs list, where they are readable."""
        headers = {}
        for info in self._repository.backend.list(FileKind.PACK):
            pack_id = StorageId(bytes.fromhex(info.name))
            if pack_id in wanted:
                try:
                    headers[pack_id] = load_pack_header(self._repository, pack_id, info.size_bytes)
                except (IntegrityError, BackendError):
                    continue
        return headers

    def _salvage_pack(self, saver: BlobSaver, pack_id: StorageId, header: list[PackedBlob] | None) -> None:
        """Save what the index and the pack itself say that it holds."""
        indexed = self._repository.index.pack_blobs(pack_id)
        try:
            data = self._load(pack_id)
        except BackendError:
            data = None  # parts of it may be readable
        self._save_blobs(saver, pack_id, indexed, data)
        if header is not None and set(header) != set(indexed):
            self._reporter.warning(f"repairing incomplete index entry for pack {pack_id.hex()}")
            known = set(indexed)
            self._save_blobs(saver, pack_id, [blob for blob in header if blob not in known], data)
        if not indexed and not header:
            self._reporter.warning(f"no blobs found for pack {pack_id.hex()}")

    def _save_blobs(
        self, saver: BlobSaver, pack_id: StorageId, blobs: Iterable[PackedBlob], data: bytes | None
    ) -> None:
        for blob in blobs:
            try:
                plain = self._open(pack_id, blob, data)
            except LimpetError as error:
                self._reporter.warning(f"failed to load blob {blob.id.hex()}: {error}")
                self._result.lost.append(blob.id)
            else:
                _store(saver, blob, plain)
                self._result.saved += 1

    def _open(self, pack_id: StorageId, blob: PackedBlob, data: bytes | None) -> bytes:
        """The blob's plaintext, from this pack or wherever else it is sound."""
        start, end = blob.offset_bytes, blob.offset_bytes + blob.length_bytes
        try:
            if data is None:
                sealed = self._repository.backend.load(Handle(FileKind.PACK, pack_id.hex()), start, blob.length_bytes)
            else:
                sealed = data[start:end]
                if len(sealed) != blob.length_bytes:
                    raise IntegrityError(f"pack {pack_id.hex()} ends before it")
            return self._repository.opener().open(sealed, blob.id, blob.plain_length_bytes)
        except (IntegrityError, BackendError):
            if not self._repository.index.contains(blob.kind, blob.id):
                raise
            return self._repository.load_blob(blob.kind, blob.id)

    def _load(self, pack_id: StorageId) -> bytes:
        """The whole pack; if its bytes are not what its name says, what the second try brings."""
        handle = Handle(FileKind.PACK, pack_id.hex())
        data = self._repository.backend.load(handle)
        return data if sha256(data).digest() == pack_id else self._repository.backend.load(handle)

    def _removed(self, handle: Handle, error: BackendError | None) -> None:
        if error is not None:  # a later prune removes it
            self._reporter.warning(f"failed to delete pack file {handle.name}: {error}")


def _store(saver: BlobSaver, blob: PackedBlob, plain: bytes) -> None:
    """Have a worker seal the blob, and wait for it."""
    ended: Future[None] = Future()

    def stored(_: object, error: BaseException | None) -> None:
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    saver.submit_for(blob.kind, Sealer.store_again, stored, plain)
    ended.result()
