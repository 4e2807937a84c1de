"""Brings what is needed of some packs into new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from limpet.errors import RepositoryError
from limpet.format.pack import BlobKind
from limpet.ids import StorageId
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
        transfer.run(_ranges(plan, pack_done), pack_done)
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
    )


def _ranges(plan: PrunePlan, pack_done: Callable[[], None]) -> Iterator[NeededRange]:
    """What to load, pack after pack. Takes the marks off what it gives out, so that no blob is stored twice."""
    table = plan.used.repository.index.table
    for number in plan.numbers(Fate.REPACK):
        pack_id = StorageId(table.pack_id(number))
        ranges = [
            one._replace(is_last=False, kind=kind)
            for kind, blobs in _take(plan, number).items()
            for one in pack_ranges(pack_id, blobs, WINDOW_BYTES)
        ]
        if not ranges:
            pack_done()
        else:
            ranges[-1] = ranges[-1]._replace(is_last=True)
            yield from ranges


def _take(plan: PrunePlan, number: int) -> dict[BlobKind, list[StoredBlob]]:
    """The blobs of the pack that are needed and that no pack before it has given, by offset."""
    table, unmark = plan.used.repository.index.table, plan.used.marks.unmark
    taken: dict[BlobKind, list[StoredBlob]] = {}
    for kind, blob_id, offset, length, plain_length in table.pack_blobs(number):
        try:
            is_needed = unmark(kind, blob_id)
        except KeyError:
            continue
        if is_needed:
            taken.setdefault(BlobKind(kind), []).append((offset, length, plain_length, blob_id))
    return taken
