"""What a check is asked for, and what it found."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from limpet.errors import UsageError
from limpet.ids import BlobId, StorageId

MAX_GROUPS = 256
"""Packs are grouped by the first byte of their ids."""


class Subset:
    """Which packs `--read-data-subset` reads; each subclass is one way of saying it."""

    def choose(self, packs: Sequence[tuple[StorageId, int]]) -> list[tuple[StorageId, int]]:
        """The chosen of the packs, given as id and size in bytes."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class EveryPack(Subset):
    """All data."""

    def choose(self, packs: Sequence[tuple[StorageId, int]]) -> list[tuple[StorageId, int]]:
        return list(packs)


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

    def choose(self, packs: Sequence[tuple[StorageId, int]]) -> list[tuple[StorageId, int]]:
        return [pack for pack in packs if pack[0][0] % self.groups == self.number - 1]


@dataclass(frozen=True, slots=True)
class PackPercent(Subset):
    """A random choice of so many percent of the packs, at least one."""

    percent: float

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise UsageError("check flag --read-data-subset=x%: x must be above 0.0% and at most 100.0%")

    def choose(self, packs: Sequence[tuple[StorageId, int]]) -> list[tuple[StorageId, int]]:
        count = min(len(packs), max(1, int(len(packs) * self.percent / 100)))
        return random.SystemRandom().sample(list(packs), count)


@dataclass(frozen=True, slots=True)
class PackBytes(Subset):
    """A random choice of packs of about this size in all."""

    size_bytes: int

    def __post_init__(self) -> None:
        if self.size_bytes <= 0:
            raise UsageError("check flag --read-data-subset=n: the size must be above 0")

    def choose(self, packs: Sequence[tuple[StorageId, int]]) -> list[tuple[StorageId, int]]:
        total = sum(size for _, size in packs)
        return PackPercent(min(100.0, 100.0 * self.size_bytes / total)).choose(packs) if total else []


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How much is looked at."""

    read: Subset | None = None
    """The packs whose data are read; None for structure alone."""
    trees: Sequence[BlobId] | None = None
    """Check these trees and the packs they need only; None for all snapshots."""


class FindingKind(Enum):
    """What a finding is about. `is_error` of the finding tells how bad it is."""

    INDEX = "index"
    INDEX_DIFFERS = "index differs"
    DUPLICATE_PACK = "duplicate pack"
    MIXED_PACK = "mixed pack"
    PACK_MISSING = "pack missing"
    PACK_SIZE = "pack size"
    PACK_UNREFERENCED = "pack unreferenced"
    PACK_DATA = "pack data"
    SNAPSHOT = "snapshot"
    TREE = "tree"


_HINTS = frozenset({FindingKind.DUPLICATE_PACK, FindingKind.MIXED_PACK, FindingKind.PACK_UNREFERENCED})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: `subject` is the pack, tree, index or snapshot it is about."""

    kind: FindingKind
    subject: bytes
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
    def broken_packs(self) -> list[StorageId]:
        """Packs that are lost or damaged."""
        bad = {FindingKind.INDEX_DIFFERS, FindingKind.PACK_MISSING, FindingKind.PACK_SIZE, FindingKind.PACK_DATA}
        return list(dict.fromkeys(StorageId(finding.subject) for finding in self.findings if finding.kind in bad))

    @property
    def broken_snapshots(self) -> list[StorageId]:
        """Snapshots that cannot be read."""
        return [StorageId(one.subject) for one in self.findings if one.kind is FindingKind.SNAPSHOT]

    def has(self, *kinds: FindingKind) -> bool:
        """Whether there is a finding of one of these kinds."""
        return any(finding.kind in kinds for finding in self.findings)
