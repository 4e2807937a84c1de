"""What an operation asks of the hooks of its run; without any, nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # A run without hooks does not load pluggy.
    from limpet.contracts.hooks import RunResult, SnapshotDraft
    from limpet.contracts.source import StatLike
    from limpet.progress import Reporter


Arguments = Mapping[str, Sequence[str]]
"""What is backed up: by the source's scheme, what follows the scheme in each of its arguments."""
ReadFrom = Mapping[str, Mapping[str, str]]
"""By scheme, the arguments that are read at another place, and that place: `SourceRequest.read_from` of each source."""


class RunHooks(Protocol):
    """The hooks of one run. Each call raises HookError where a hook fails and its `on_error` is not `warn`."""

    def password(self, location: str) -> str | None:
        """The repository's password, from the first hook that knows it."""

    def started(self) -> None:
        """The run is about to do its work."""

    def prepared(self, arguments: Arguments) -> AbstractContextManager[ReadFrom]:
        """Inside it, where hooks want arguments to be read instead; each argument is released, whatever happens."""

    @property
    def excludes(self) -> Callable[[bytes, StatLike], bool] | None:
        """Whether a path stays out, as `Selection.rejected_by_hook` wants it; None if no hook cares."""

    def snapshot_saving(self, draft: SnapshotDraft) -> None:
        """The snapshot is about to be saved; hooks may change the draft."""

    def watching(self, reporter: Reporter) -> Reporter:
        """A reporter that also tells the hooks of the progress, every few seconds."""

    def ended(self, result: RunResult) -> None:
        """The run is over: `limpet_run_finished` for the exit codes 0 and 3, else `_failed`; last of all `_ended`."""


class NoHooks:
    """The hooks of a run that has none; the default of the library API."""

    def password(self, location: str) -> str | None:
        return None

    def started(self) -> None:
        return

    @contextmanager
    def prepared(self, arguments: Arguments) -> Iterator[ReadFrom]:
        yield {}

    @property
    def excludes(self) -> Callable[[bytes, StatLike], bool] | None:
        return None

    def snapshot_saving(self, draft: SnapshotDraft) -> None:
        return

    def watching(self, reporter: Reporter) -> Reporter:
        return reporter

    def ended(self, result: RunResult) -> None:
        return
