"""Whether a storage holds any file of a repository: what is deleted afterwards has to be empty before."""

from __future__ import annotations

from contextlib import suppress

from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind
from limpet.errors import MissingFileError, UsageError


def require_empty(backend: Backend, needed_for: str) -> None:
    """UsageError if there is a repository, or any file of one. What `needed_for` names needs an empty place."""
    with suppress(MissingFileError):
        backend.stat(CONFIG_HANDLE)
        raise UsageError(f"there is a repository in {backend.location}: {needed_for} needs an empty place")
    for kind in FileKind:
        if kind is not FileKind.CONFIG and _has_any(backend, kind):
            raise UsageError(
                f"{backend.location} is not empty, it holds {kind.value}: {needed_for} needs an empty place"
            )


def _has_any(backend: Backend, kind: FileKind) -> bool:
    try:
        return next(iter(backend.list(kind)), None) is not None
    except MissingFileError:
        return False  # not even its bucket is there
