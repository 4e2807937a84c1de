"""Removal of many stored files, several at once, with progress."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import TYPE_CHECKING

from limpet.contracts.backend import FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.progress import Progress, Reporter
from limpet.repository.threads import storage_threads

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

Removed = Callable[[Handle, BackendError | None], None]
"""Told of each file that is removed, or why it could not be."""


def remove_files(
    repository: Repository,
    kind: FileKind,
    names: Collection[str],
    reporter: Reporter,
    removed: Removed,
    *,
    what: str = "files deleted",
) -> None:
    """Remove the files, several at once, counted as `what`; `removed` is told in their order and may raise to end it.

    Ctrl-C and errors other than BackendError, a lost lock above all, end it too; what has begun is done first.
    """
    progress = Progress(what, files_total=len(names), is_counter=True)
    ahead = 2 * max(1, repository.backend.properties.connections)  # of a million names only so many at once
    running: deque[tuple[Handle, Future[BackendError | None]]] = deque()

    def end_first() -> None:
        handle, future = running.popleft()
        error = future.result()
        progress.files_done += error is None
        removed(handle, error)

    reporter.begin(progress)
    try:
        with storage_threads(repository, len(names)) as threads:
            for name in names:
                handle = Handle(kind, name)
                running.append((handle, threads.submit(_try_to_remove, repository, handle)))
                if len(running) > ahead:
                    end_first()
            while running:
                end_first()
    finally:
        reporter.end()


def _try_to_remove(repository: Repository, handle: Handle) -> BackendError | None:
    try:
        repository.backend.remove(handle)
    except MissingFileError:
        return None  # a removal whose answer was lost, and that was tried again
    except BackendError as error:
        return error
    return None
