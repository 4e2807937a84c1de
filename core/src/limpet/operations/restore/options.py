"""What a restore is asked for and what it says in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

Selector = Callable[[bytes, bool], tuple[bool, bool]]
"""`(path in the snapshot, is it a folder)` -> whether it is restored, whether something below it may be."""

XattrSelector = Callable[[bytes], bool]
"""Whether the extended attribute of this name is touched at all."""


class Overwrite(Enum):
    """What happens to a file that is there already; the value is restic's word for `--overwrite`."""

    ALWAYS = "always"
    """It gets the snapshot's content; what is right already is not written again."""
    IF_CHANGED = "if-changed"
    """As ALWAYS, but a file of the same size and modification time is taken to be right without reading it."""
    IF_NEWER = "if-newer"
    """Only if the snapshot's modification time is later."""
    NEVER = "never"
    """It stays as it is."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How to restore."""

    overwrite: Overwrite = Overwrite.ALWAYS
    delete: bool = False
    """Remove what the snapshot's folders do not hold, where the selection would restore it."""
    sparse: bool = False
    """Leave out blocks of zeros when writing, so that they become holes."""
    dry_run: bool = False
    """Change nothing; count and report what would be done."""
    ownership_by_name: bool = False
    """Look up users and groups by name; an unknown name becomes 0."""
    select: Selector | None = None
    select_xattr: XattrSelector | None = None
    workers: int | None = None
    """Number of worker processes; None for one a processor."""


@dataclass(slots=True)
class RestoreResult:
    """Figures of a restore, counted as restic counts them: files here are files, folders and all else."""

    files_total: int = 0
    files_restored: int = 0
    files_skipped: int = 0
    files_deleted: int = 0
    bytes_total: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0
    errors: int = 0
    duration_s: float = 0.0
    restored: bytearray = field(default_factory=bytearray, repr=False)
    """One byte for each regular file in the order of the walk, 1 if its content was written; for `verify_files`."""

    @property
    def contents_restored(self) -> int:
        """How many regular files had their content written."""
        return sum(self.restored)
