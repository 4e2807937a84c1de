"""Which packs are kept, rewritten or removed: restic's rules (`internal/repository/prune.go`, 0.19), pack by pack.

Packs go by their numbers in the index's table, and what is decided about each is a byte.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from limpet.contracts.backend import FileKind
from limpet.errors import RepositoryError
from limpet.format._marks_py import PACK_USE
from limpet.ids import StorageId, short
from limpet.operations.prune.options import PruneOptions
from limpet.operations.prune.result import PruneResult
from limpet.operations.used_blobs import UsedBlobs
from limpet.progress import Progress, Reporter
from limpet.repository.repository import MIB

LEAST_PACK_BYTES = 4 * MIB
"""Packs above 80 percent of this are never small."""
FEW_SMALL_PACKS = 10
"""Fewer small packs are not worth rewriting; they would be rewritten by every prune."""

_DATA, _TREES, _UNCOMPRESSED = 1, 2, 4
_MIXED = _DATA | _TREES


class Fate(IntEnum):
    """What becomes of a pack that an index names."""

    ABSENT = 0
    """Not stored, or without blobs."""
    KEEP = 1
    REPACK = 2
    REMOVE = 3
    FORGET = 4
    """Missing, and not needed: it goes from the index."""


class _PackUse(NamedTuple):
    """What a pack holds."""

    used_blobs: int
    unused_blobs: int
    duplicate_blobs: int
    content: int
    used_bytes: int
    unused_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.used_bytes + self.unused_bytes

    @property
    def is_data(self) -> bool:
        return self.content & _MIXED == _DATA

    @property
    def is_mixed(self) -> bool:
        return self.content & _MIXED == _MIXED

    @property
    def is_uncompressed(self) -> bool:
        return bool(self.content & _UNCOMPRESSED)


@dataclass(slots=True)
class PrunePlan:
    """The fate of each pack of the index, and the packs that no index names."""

    fates: bytearray
    used: UsedBlobs
    result: PruneResult
    unreferenced: list[StorageId] = field(default_factory=list)

    def packs(self, *fates: Fate) -> Iterator[StorageId]:
        """The packs with one of the fates."""
        pack_id = self.used.repository.index.table.pack_id
        for number, fate in enumerate(self.fates):
            if fate in fates:
                yield StorageId(pack_id(number))

    def numbers(self, fate: Fate) -> Iterator[int]:
        """The numbers of the packs with the fate."""
        at = self.fates.find(fate)
        while at >= 0:
            yield at
            at = self.fates.find(fate, at + 1)

    def count(self, *fates: Fate) -> int:
        """How many packs have one of the fates."""
        return sum(self.fates.count(fate) for fate in fates)


def plan_prune(used: UsedBlobs, options: PruneOptions, reporter: Reporter) -> PrunePlan:
    """What to do. Afterwards the blobs that are marked are those that are needed out of packs to be rewritten.

    RepositoryError for a repository that is damaged in a way in which removing anything could make it worse.
    """
    _refuse_missing(used, reporter)
    reporter.note("searching used packs...")
    planner = _Planner(used, options, reporter)
    reporter.note("collecting packs for deletion and repacking")
    planner.decide()
    if planner.plan.count(Fate.REPACK):
        # What a pack that stays holds anyway needs no second copy. A pack that is missing does not count: restic 0.19
        # takes it for one that stays, and loses blobs of which it was said to have a copy.
        is_kept = bytes(fate == Fate.KEEP for fate in range(256))
        used.marks.clear_packs(planner.plan.fates.translate(is_kept))
    return planner.plan


def _refuse_missing(used: UsedBlobs, reporter: Reporter) -> None:
    if not used.missing:
        return
    some = " ".join(f"<data/{short(blob_id)}>" for blob_id in sorted(used.missing)[:10])
    more = f" ({len(used.missing) - 10} more)" if len(used.missing) > 10 else ""
    reporter.warning(
        f"{{{some}{more}}} not found in the index\n\n"
        "Integrity check failed: Data seems to be missing.\n"
        "Will not start prune to prevent (additional) data loss!\n"
        "Run 'limpet check' to learn what is damaged"
    )
    raise RepositoryError("index is not complete")


class _Planner:
    def __init__(self, used: UsedBlobs, options: PruneOptions, reporter: Reporter) -> None:
        self._repository = used.repository
        self._options = options
        self._reporter = reporter
        self._table = self._repository.index.table
        self._uses, totals = used.marks.survey()
        self._candidates = array("I")
        self._small = array("I")
        self._small_bytes = self._find_small_bytes()
        self._result = PruneResult(options.dry_run)
        blobs, sizes = self._result.blobs, self._result.sizes
        blobs.used, blobs.duplicate, blobs.unused, sizes.used, sizes.duplicate, sizes.unused = totals
        self.plan = PrunePlan(bytearray(self._table.pack_count()), used, self._result)

    def decide(self) -> None:
        self._look_at_stored()
        self._look_at_missing()
        if len(self._small) < FEW_SMALL_PACKS:
            self._result.packs.keep += len(self._small)
        else:
            self._candidates.extend(self._small)
        self._choose()
        packs = self._result.packs
        packs.unreferenced = len(self.plan.unreferenced)
        packs.repack = self.plan.count(Fate.REPACK)
        packs.remove = self.plan.count(Fate.REMOVE)
        if self._repository.config.version < 2:
            self._result.sizes.uncompressed = 0  # compression is not to be had there

    # -- every pack ---------------------------------------------------------------------------------------------

    def _look_at_stored(self) -> None:
        indexed = sum(1 for use in PACK_USE.iter_unpack(self._uses) if use[4])
        progress = Progress("packs processed", files_total=indexed, is_counter=True)
        self._reporter.begin(progress)
        try:
            for info in self._repository.backend.list(FileKind.PACK):
                pack_id = bytes.fromhex(info.name)
                number = self._table.find_pack(pack_id)
                use = None if number is None else self._use(number)
                if number is None or use is None or not use.used_bytes:
                    self._reporter.note(
                        f"will remove pack {short(pack_id)} as it is unused and not indexed", verbosity=2
                    )
                    self.plan.unreferenced.append(StorageId(pack_id))
                    self._result.sizes.unreferenced += info.size_bytes
                else:
                    self._look_at(number, use, info.size_bytes)
                    progress.files_done += 1
        finally:
            self._reporter.end()

    def _look_at(self, number: int, use: _PackUse, stored_bytes: int) -> None:
        result = self._result
        self.plan.fates[number] = Fate.KEEP  # until decided otherwise
        if use.used_blobs and use.size_bytes != stored_bytes:
            self._reporter.warning(
                f"pack {short(self._table.pack_id(number))}: calculated size {use.size_bytes} does not match real size "
                f"{stored_bytes}\nRun 'restic repair index'"
            )
            raise RepositoryError("pack size does not match calculated size from index")
        if not use.used_blobs:
            result.packs.unused += 1
        elif not use.unused_blobs:
            result.packs.used += 1
        else:
            result.packs.partly_used += 1
        if use.is_uncompressed:
            result.sizes.uncompressed += use.size_bytes
        if not use.used_blobs:
            self.plan.fates[number] = Fate.REMOVE
            self._remove(use)
        elif self._options.repack_cacheable_only and use.is_data:
            result.packs.keep += 1
        elif use.unused_blobs or use.is_mixed or self._must_compress(use):
            self._candidates.append(number)
        elif stored_bytes < self._small_bytes:
            self._small.append(number)
        else:
            result.packs.keep += 1

    def _look_at_missing(self) -> None:
        """Packs that the index names and nobody has stored: a fatal loss, unless nothing needs them."""
        needed, forgotten = [], []
        for number in self.plan.numbers(Fate.ABSENT):
            use = self._use(number)
            if use.used_blobs:
                needed.append(self._table.pack_id(number))
            elif use.used_bytes:
                forgotten.append(self._table.pack_id(number))
                self.plan.fates[number] = Fate.FORGET
                self._remove(use)
        if needed:
            self._reporter.warning(
                f"The index references {len(needed)} needed pack files which are missing from the repository:"
            )
            for pack_id in needed:
                self._reporter.warning(f"  {pack_id.hex()}")
            raise RepositoryError("packs from index missing in repo")
        if forgotten:
            self._reporter.warning("Missing but unneeded pack files are referenced in the index, will be repaired")
            for pack_id in forgotten:
                self._reporter.warning(f"will forget missing pack file {pack_id.hex()}")

    # -- packs that may be rewritten ----------------------------------------------------------------------------

    def _choose(self) -> None:
        """Rewrite candidates until little enough is unused, or so much is rewritten as may be."""
        sizes, options = self._result.sizes, self._options
        for number in sorted(self._candidates, key=self._urgency):
            use = self._use(number)
            if options.max_repack_bytes is not None and sizes.repack + use.size_bytes >= options.max_repack_bytes:
                self._result.packs.keep += 1
            elif not use.is_data or self._must_compress(use):
                self._repack(number, use)
            elif use.size_bytes >= self._small_bytes and options.max_unused.tolerates(
                sizes.remaining_unused, sizes.used
            ):
                self._result.packs.keep += 1
            else:
                self._repack(number, use)

    def _urgency(self, number: int) -> tuple[bool, bool, float]:
        """Packs with trees first, then small ones, then by how much of them is unused."""
        use = self._use(number)
        return use.is_data, use.size_bytes >= self._small_bytes, -use.unused_bytes / use.used_bytes

    def _must_compress(self, use: _PackUse) -> bool:
        """Whether the pack is rewritten only to compress what is in it: trees always, data if that is wanted."""
        is_tree_pack = use.content & _MIXED == _TREES
        return (
            use.is_uncompressed
            and self._repository.config.version >= 2
            and (is_tree_pack or self._options.repack_uncompressed)
        )

    def _find_small_bytes(self) -> int:
        """Below this size a pack is small: as asked for, or 80 percent of what nearly all packs have."""
        if self._options.repack_smaller_than_bytes:
            return self._options.repack_smaller_than_bytes
        sizes = array("Q", (use[4] + use[5] for use in PACK_USE.iter_unpack(self._uses) if use[4]))
        if not sizes:
            return 0
        # As restic: a low percentile, so that a repository of packs of one size is left alone, whatever the size.
        third_percentile: int = sorted(sizes)[len(sizes) * 3 // 100]
        return max(LEAST_PACK_BYTES, third_percentile) * 4 // 5

    # -- what becomes of a pack ---------------------------------------------------------------------------------

    def _remove(self, use: _PackUse) -> None:
        self._result.blobs.remove += use.unused_blobs
        self._result.sizes.remove += use.unused_bytes

    def _repack(self, number: int, use: _PackUse) -> None:
        self.plan.fates[number] = Fate.REPACK
        blobs, sizes = self._result.blobs, self._result.sizes
        blobs.repack += use.unused_blobs + use.used_blobs
        sizes.repack += use.size_bytes
        blobs.repack_remove += use.unused_blobs
        sizes.repack_remove += use.unused_bytes
        if use.is_uncompressed:
            sizes.uncompressed -= use.size_bytes

    def _use(self, number: int) -> _PackUse:
        return _PackUse._make(PACK_USE.unpack_from(self._uses, number * PACK_USE.size))
