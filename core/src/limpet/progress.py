"""What an operation tells while it runs: the core never prints, a `Reporter` renders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Progress:
    """Counters an operation moves on and a renderer reads at its own pace.

    Totals are None until known. Sizes are bytes.
    """

    operation: str
    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    files_skipped: int = 0
    bytes_skipped: int = 0
    files_deleted: int = 0
    errors: int = 0
    current: dict[str, None] = field(default_factory=dict)
    """Items in work, oldest first."""
    is_counter: bool = False
    """Counts things that `operation` names (`packs copied`); the last count is a result, and stays to be seen."""


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """One item done. `action` is restic's word: new, unchanged, modified, restored, updated, deleted, ...

    `scan_finished` is no item: it tells, once, how much there is to do.
    """

    action: str
    path: str
    is_folder: bool = False
    size_bytes: int = 0
    duration_s: float = 0.0
    data_size_bytes: int = 0
    data_stored_bytes: int = 0
    metadata_size_bytes: int = 0
    metadata_stored_bytes: int = 0
    total_files: int = 0
    """Only of `scan_finished`: how many files there are, with `data_size_bytes` in all."""
    is_special: bool = False
    """Neither folder nor regular file: a link, device or fifo."""


class Reporter(Protocol):
    """The one door from an operation to a person or a program watching it. Thread-safe."""

    def begin(self, progress: Progress) -> None:
        """An operation starts; `progress` stays valid until `end`."""

    def end(self) -> None:
        """The operation is over, well or not."""

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """Something worth telling at this verbosity: 0 only hidden by --quiet, 1 normal, 2 with -v, 3 with -vv."""

    def warning(self, text: str) -> None:
        """Something went wrong that does not make the result wrong."""

    def error(self, error: Exception, *, during: str, item: str) -> None:
        """One item failed; the operation goes on."""

    def item(self, event: ItemEvent) -> None:
        """One item is done. Only called where `wants_items`, except for `scan_finished`."""

    @property
    def wants_items(self) -> bool:
        """Whether `item` should be called at all: it costs on the hot path."""

    @property
    def wants_totals(self) -> bool:
        """Whether anybody sees how much is still to come: counting it beforehand costs a walk of its own."""


class SilentReporter:
    """Tells nothing; the default of the library API."""

    wants_items = False
    wants_totals = False

    def begin(self, progress: Progress) -> None:
        return

    def end(self) -> None:
        return

    def note(self, text: str, *, verbosity: int = 1) -> None:
        return

    def warning(self, text: str) -> None:
        return

    def error(self, error: Exception, *, during: str, item: str) -> None:
        return

    def item(self, event: ItemEvent) -> None:
        return
