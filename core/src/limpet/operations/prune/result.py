"""What a prune finds, and what it does about it, in numbers: restic's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class BlobFigures:
    """Numbers of blobs."""

    used: int = 0
    duplicate: int = 0
    unused: int = 0
    repack: int = 0
    """In packs that are rewritten."""
    repack_remove: int = 0
    """Of these the ones that go."""
    remove: int = 0
    """In packs that are removed."""

    @property
    def total(self) -> int:
        """All that the indexes name."""
        return self.used + self.unused + self.duplicate

    @property
    def remove_total(self) -> int:
        """All that go."""
        return self.remove + self.repack_remove

    @property
    def remaining(self) -> int:
        """All that stay."""
        return self.total - self.remove_total


@dataclass(slots=True)
class ByteFigures:
    """The same in stored bytes."""

    used: int = 0
    duplicate: int = 0
    unused: int = 0
    unreferenced: int = 0
    """Packs that no index names."""
    uncompressed: int = 0
    """Packs that hold something that is not compressed, and stay as they are."""
    repack: int = 0
    repack_remove: int = 0
    remove: int = 0

    @property
    def total(self) -> int:
        """All packs."""
        return self.used + self.duplicate + self.unused + self.unreferenced

    @property
    def remove_total(self) -> int:
        """What is freed."""
        return self.remove + self.repack_remove + self.unreferenced

    @property
    def remaining(self) -> int:
        """What stays."""
        return self.total - self.remove_total

    @property
    def remaining_unused(self) -> int:
        """What stays though nothing needs it."""
        return self.duplicate + self.unused - self.remove - self.repack_remove


@dataclass(slots=True)
class PackFigures:
    """Numbers of packs."""

    used: int = 0
    unused: int = 0
    partly_used: int = 0
    unreferenced: int = 0
    keep: int = 0
    repack: int = 0
    remove: int = 0

    @property
    def total(self) -> int:
        """All that are stored."""
        return self.used + self.partly_used + self.unused + self.unreferenced

    @property
    def remove_total(self) -> int:
        """What is removed without being rewritten."""
        return self.unreferenced + self.remove


@dataclass(slots=True)
class PruneResult:
    """What was found in a repository, and what was done, or with `dry_run` would have been."""

    dry_run: bool = False
    blobs: BlobFigures = field(default_factory=BlobFigures)
    sizes: ByteFigures = field(default_factory=ByteFigures)
    packs: PackFigures = field(default_factory=PackFigures)
    packs_left: int = 0
    """Packs that nothing needs and that could not be removed; the next prune removes them."""

    def as_document(self) -> dict[str, Any]:
        """restic's `summary` document."""
        blobs, sizes, packs = self.blobs, self.sizes, self.packs
        return {
            "message_type": "summary",
            "blobs": {
                "used": blobs.used,
                "duplicate": blobs.duplicate,
                "unused": blobs.unused,
                "total": blobs.total,
                "repack": blobs.repack,
                "repack_remove": blobs.repack_remove,
                "remove": blobs.remove,
                "remove_total": blobs.remove_total,
                "remaining": blobs.remaining,
            },
            "bytes": {
                "used": sizes.used,
                "duplicate": sizes.duplicate,
                "unused": sizes.unused,
                "unreferenced": sizes.unreferenced,
                "uncompressed": sizes.uncompressed,
                "total": sizes.total,
                "repack": sizes.repack,
                "repack_remove": sizes.repack_remove,
                "remove": sizes.remove,
                "remove_total": sizes.remove_total,
                "remaining": sizes.remaining,
                "remaining_unused": sizes.remaining_unused,
            },
            "packfiles": {
                "used": packs.used,
                "unused": packs.unused,
                "partly_used": packs.partly_used,
                "unreferenced": packs.unreferenced,
                "total": packs.total,
                "keep": packs.keep,
                "repack": packs.repack,
                "remove": packs.remove,
                "remove_total": packs.remove_total,
            },
        }
