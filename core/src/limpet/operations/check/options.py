"""What a check is asked for, and what it found."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from limpet.errors import UsageError
from limpet.ids import StorageId, is_hex_id
from limpet.repository.snapshots import NO_FILTER, SnapshotFilter

Packs = Sequence[tuple[StorageId, int]]
"""Ids and sizes in bytes."""

MAX_GROUPS = 256
"""Packs are grouped by the first byte of their ids."""


class Subset:
    """Which packs `--read-data-subset` reads; each subclass is one way of saying it."""

    def choose(self, packs: Packs) -> list[tuple[StorageId, int]]:
        """The chosen ones of the packs."""
        raise NotImplementedError

    def describe(self, packs: Packs, chosen: Packs, adjective: str) -> str:
        """What is going to be read, in restic's words; the adjective is `filtered ` or empty."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class EveryPack(Subset):
    """All data."""

    def choose(self, packs: Packs) -> list[tuple[StorageId, int]]:
        return list(packs)

    def describe(self, packs: Packs, chosen: Packs, adjective: str) -> str:
        return f"read all {adjective}data"


@dataclass(frozen=True, slots=True)
class PackGroup(Subset):
    """Group `number` (from 1 on) of `groups`: the same packs in every run, all of them after `groups` runs."""

    number: int
    groups: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.groups <= MAX_GROUPS:
            raise UsageError(
                f"check flag --read-data-subset=n/t: n and t must be positive, n <= t and t <= {MAX_GROUPS}, "
                "e.g. --read-data-subset=1/2"
            )

    def choose(self, packs: Packs) -> list[tuple[StorageId, int]]:
        return [pack for pack in packs if pack[0][0] % self.groups == self.number - 1]

    def describe(self, packs: Packs, chosen: Packs, adjective: str) -> str:
        return (
            f"read group #{self.number} of {len(chosen)} {adjective}data packs "
            f"(out of total {len(packs)} packs in {self.groups} groups"  # restic leaves it open, too
        )


@dataclass(frozen=True, slots=True)
class PackPercent(Subset):
    """A random choice of so many percent of the packs, at least one."""

    percent: float

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise UsageError("check flag --read-data-subset=x%: x must be above 0.0% and at most 100.0%")

    def choose(self, packs: Packs) -> list[tuple[StorageId, int]]:
        count = min(len(packs), max(1, int(len(packs) * self.percent / 100)))
        return random.SystemRandom().sample(list(packs), count)

    def describe(self, packs: Packs, chosen: Packs, adjective: str) -> str:
        return f"read {self.percent:.1f}% of {adjective}packfiles"


@dataclass(frozen=True, slots=True)
class PackBytes(Subset):
    """A random choice of packs of about this size in all."""

    size_bytes: int

    def __post_init__(self) -> None:
        if self.size_bytes <= 0:
            raise UsageError("check flag --read-data-subset=n: the size must be above 0")

    def choose(self, packs: Packs) -> list[tuple[StorageId, int]]:
        return PackPercent(self._percent(packs)).choose(packs) if packs else []

    def describe(self, packs: Packs, chosen: Packs, adjective: str) -> str:
        size_bytes = min(self.size_bytes, _total_bytes(packs))
        return f"read {size_bytes} bytes ({self._percent(packs):.1f}%) of {adjective}data packs"

    def _percent(self, packs: Packs) -> float:
        return 100.0 * min(1.0, self.size_bytes / max(1, _total_bytes(packs)))


def _total_bytes(packs: Packs) -> int:
    return sum(size_bytes for _, size_bytes in packs)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How much is looked at."""

    read: Subset | None = None
    """The packs whose data are read; None for structure alone."""
    snapshot_names: Sequence[str] = ()
    """Check these snapshots (ids, prefixes, `latest`) and the packs they need only."""
    snapshot_filter: SnapshotFilter = NO_FILTER
    """Check the snapshots that pass and the packs they need only."""

    @property
    def is_filtered(self) -> bool:
        """Whether some snapshots only are checked."""
        return bool(self.snapshot_names) or not self.snapshot_filter.is_empty


class FindingKind(Enum):
    """What is wrong with what a finding is about."""

    INDEX = "index"
    INDEX_DIFFERS = "index differs"
    DUPLICATE_PACK = "duplicate pack"
    MIXED_PACK = "mixed pack"
    PACK_MISSING = "pack missing"
    PACK_SIZE = "pack size"
    PACK_UNREFERENCED = "pack unreferenced"
    PACK_DATA = "pack data"
    PACK_UNREADABLE = "pack unreadable"
    SNAPSHOT = "snapshot"
    TREE = "tree"


_HINTS = frozenset({FindingKind.DUPLICATE_PACK, FindingKind.MIXED_PACK, FindingKind.PACK_UNREFERENCED})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    `subject` is the id of the pack, tree, index or snapshot it is about, in hex; for a snapshot that was asked for and
    not found, what was asked for.
    """

    kind: FindingKind
    subject: str
    details: tuple[str, ...]

    @property
    def is_error(self) -> bool:
        """False for what does no harm."""
        return self.kind not in _HINTS


@dataclass(slots=True)
class CheckResult:
    """All findings, in the order in which they were made."""

    findings: list[Finding] = field(default_factory=list)
    packs_read: int = 0

    @property
    def errors(self) -> list[Finding]:
        """The findings that are harmful."""
        return [finding for finding in self.findings if finding.is_error]

    @property
    def broken_packs(self) -> list[str]:
        """Ids of stored packs that are damaged."""
        bad = {FindingKind.INDEX_DIFFERS, FindingKind.PACK_SIZE, FindingKind.PACK_DATA}
        return self._subjects(bad)

    @property
    def broken_snapshots(self) -> list[str]:
        """Ids of stored snapshots that cannot be read."""
        return [subject for subject in self._subjects({FindingKind.SNAPSHOT}) if is_hex_id(subject)]

    def has(self, *kinds: FindingKind) -> bool:
        """Whether there is a finding of one of these kinds."""
        return any(finding.kind in kinds for finding in self.findings)

    def _subjects(self, kinds: set[FindingKind]) -> list[str]:
        return list(dict.fromkeys(finding.subject for finding in self.findings if finding.kind in kinds))
