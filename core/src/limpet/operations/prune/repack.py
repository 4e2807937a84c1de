"""Brings what is needed of some packs into new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from limpet.errors import RepositoryError
from limpet.format.pack import BlobKind
from limpet.ids import StorageId
from limpet.operations.check.windows import PackBlob
from limpet.operations.copy.needs import NeededRange, StoredBlob, pack_ranges
from limpet.operations.copy.transfer import WINDOW_BYTES, Transfer
from limpet.operations.prune.plan import Fate, PrunePlan
from limpet.progress import Progress, Reporter
from limpet.repository.repository import Repository
from limpet.repository.saver import BlobSaver
from limpet.repository.workers import usable_cpus

MOST_WORKERS = 4
"""Each leaves a small pack of data and one of trees. With more of them the next prune would find enough small packs to
join them, and so would every one after it."""
SPARE_WINDOWS = 1
READ_BYTES = 2 * 1024 * 1024
"""How much is read at once, unless a single blob is larger: what is not touched of a window costs no memory."""
INDEX_BLOBS = 10_000
"""The index is stored in small files on the way, for they are joined right afterwards."""


def repack(repository: Repository, plan: PrunePlan, reporter: Reporter) -> None:
    """Store every blob that is marked, out of the packs to be rewritten, in new packs, and their index.

    The marks are used up. IntegrityError or BackendError for a blob that cannot be read: nothing is lost then.
    """
    progress = Progress("packs repacked", files_total=plan.count(Fate.REPACK), is_counter=True)
    saver = _saver(repository, plan)
    transfer = Transfer(repository, saver)
    reporter.begin(progress)

    def pack_done() -> None:
        progress.files_done += 1

    try:
        for kind in (BlobKind.TREE, BlobKind.DATA):
            transfer.run(_ranges(plan, kind, pack_done), pack_done)
            saver.finish_packs()
        saver.flush()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            repository.interrupt()
        saver.abandon()
        raise
    finally:
        transfer.close()
        reporter.end()
    saver.close()
    if len(plan.used.marks):
        reporter.warning(f"{len(plan.used.marks)} blobs were not repacked\n\nIntegrity check failed.")
        raise RepositoryError("internal error: blobs were not repacked")


def _saver(repository: Repository, plan: PrunePlan) -> BlobSaver:
    needed_bytes = plan.result.sizes.repack - plan.result.sizes.repack_remove
    workers = min(MOST_WORKERS, usable_cpus(), 1 + needed_bytes // repository.settings.pack_size_bytes)
    return BlobSaver(
        repository,
        window_count=workers + SPARE_WINDOWS,
        window_size_bytes=WINDOW_BYTES,
        worker_count=workers,
        workers_seal_trees=True,
        index_blobs=INDEX_BLOBS,
    )


def _ranges(plan: PrunePlan, kind: BlobKind, pack_done: Callable[[], None]) -> Iterator[NeededRange]:
    """What to load for the blobs of the kind, pack after pack; packs that hold data are done with their data."""
    table = plan.used.repository.index.table
    for number in plan.numbers(Fate.REPACK):
        blobs = table.pack_blobs(number)
        has_data = any(blob[0] == BlobKind.DATA.value for blob in blobs)
        if kind is BlobKind.DATA and not has_data:
            continue
        is_done = kind is BlobKind.DATA or not has_data
        needed = _take(plan, kind, blobs)
        if needed:
            *before, last = pack_ranges(StorageId(table.pack_id(number)), needed, READ_BYTES)
            yield from (one._replace(is_last=False, kind=kind) for one in before)
            yield last._replace(is_last=is_done, kind=kind)
        elif is_done:
            pack_done()


def _take(plan: PrunePlan, kind: BlobKind, blobs: Sequence[PackBlob]) -> list[StoredBlob]:
    """The blobs of the kind that are needed and that no pack before has given, by offset. Takes their marks off."""
    unmark = plan.used.marks.unmark
    taken: list[StoredBlob] = []
    for number, blob_id, offset, length, plain_length in blobs:
        if number == kind.value:
            try:
                is_needed = unmark(number, blob_id)
            except KeyError:
                continue
            if is_needed:
                taken.append((offset, length, plain_length, blob_id))
    return taken
