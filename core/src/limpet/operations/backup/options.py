"""What a backup is asked for, and what it says when done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limpet.contracts.hooks import SnapshotDraft
from limpet.format.snapshot import Protection
from limpet.ids import BlobId
from limpet.repository.packing import StoredCounts
from limpet.repository.snapshots import StoredSnapshot


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """One snapshot to be made. Times are nanoseconds since 1970."""

    hostname: str
    time_ns: int
    tags: Sequence[str] = ()
    description: str = ""
    protection: Protection | None = None
    """Against `forget`."""
    excludes: Sequence[str] = ()
    """Patterns as the snapshot records them."""
    parent: StoredSnapshot | None = None
    """Unchanged files are taken from it without being read."""
    ignore_inode: bool = False
    ignore_ctime: bool = False
    with_atime: bool = False
    skip_if_unchanged: bool = False
    allow_partial: bool = False
    """A source that fails is left out, and counted as an error; else nothing is saved."""
    dry_run: bool = False
    """The repository drops what is saved."""
    scan: bool = True
    """Count files and bytes beforehand, for the progress bar."""
    read_concurrency: int = 1
    """How many large files are read at once; small ones are read by every worker anyway."""
    program_version: str = ""
    started_ns: int | None = None
    """When the run began, if that was before the call."""
    before_saving: Callable[[SnapshotDraft], None] | None = None
    """Called when all data is stored and the snapshot is about to be."""


@dataclass(slots=True)
class Counts:
    """Files and folders by what became of them, and bytes read or taken over."""

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    files_processed: int = 0
    bytes_processed: int = 0


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A finished backup. `snapshot` is None where nothing had changed and that was asked for."""

    snapshot: StoredSnapshot | None
    tree: BlobId
    counts: Counts
    stored: StoredCounts
    errors: int
    started_ns: int
    ended_ns: int
    paths: Sequence[str]

    @property
    def duration_s(self) -> float:
        """Seconds from the first look at the sources to the last byte stored."""
        return (self.ended_ns - self.started_ns) / 1e9
