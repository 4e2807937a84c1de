"""What a prune is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UnusedLimit:
    """How much of what no snapshot needs may stay in packs that hold something needed as well.

    A share of the repository in percent (0 to below 100), or bytes, or without both any amount.
    """

    percent: float | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.percent is not None and not 0 <= self.percent < 100:
            raise ValueError(f"unused data can be 0 to below 100 percent of a repository, not {self.percent}")

    def tolerates(self, unused_bytes: int, used_bytes: int) -> bool:
        """Whether less is unused than may be, beside so much that is used."""
        if self.percent is not None:
            return unused_bytes < int(self.percent / (100 - self.percent) * used_bytes)
        return self.size_bytes is None or unused_bytes < self.size_bytes


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """Which packs are rewritten; unused ones are removed whatever is said here."""

    max_unused: UnusedLimit = field(default_factory=lambda: UnusedLimit(percent=5))
    max_repack_bytes: int | None = None
    """Stop rewriting packs when they come to so much; None for no limit."""
    repack_cacheable_only: bool = False
    """Leave packs of data alone."""
    repack_smaller_than_bytes: int = 0
    """Packs below this count as small, and are joined; 0 to find out from the packs themselves what is small."""
    repack_uncompressed: bool = False
    """Rewrite packs with data that is not compressed (trees that are not always are). Version 2 only."""
    dry_run: bool = False
    unsafe_recovery: bool = False
    """The storage is full: nothing is rewritten, and the index is removed before the new one is written."""
