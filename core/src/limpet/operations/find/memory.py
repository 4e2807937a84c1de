"""What was found below trees that were seen: a tree that snapshots share at one path is walked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from limpet.ids import BlobId

T = TypeVar("T")

MAX_RESULTS = 2_000
"""Results that are remembered; a tree with more of them is walked again, rather than filling the memory."""


class SeenTrees(Generic[T]):
    """Remembers what was found below a tree at a path, of the folders that were walked to their end."""

    def __init__(self, *, enabled: bool = True, max_results: int = MAX_RESULTS) -> None:
        self._enabled = enabled
        self._known: dict[tuple[BlobId, bytes], Sequence[T]] = {}
        self._max_results = self._free_results = max_results
        self._found: list[T] = []
        self._open: list[int | None] = []

    def get(self, tree_id: BlobId, path: bytes) -> Sequence[T] | None:
        """What was found below the tree; None if it was not seen at this path."""
        return self._known.get((tree_id, path))

    def enter(self) -> None:
        """A folder is about to be walked: what is found from now on belongs to it, too."""
        self._open.append(len(self._found))

    def found(self, result: T) -> None:
        """Something was found in the folder entered last."""
        if not self._enabled:
            return
        if len(self._found) >= self._max_results:
            self._found.clear()
            self._open = [None] * len(self._open)  # nobody knows any more all that they hold
        self._found.append(result)

    def leave(self, tree_id: BlobId, path: bytes) -> None:
        """The folder entered last was walked to its end."""
        first = self._open.pop()
        if not self._enabled or first is None:
            return
        count = len(self._found) - first
        if count <= self._free_results:
            self._free_results -= count
            self._known[tree_id, path] = self._found[first:] if count else ()

    def next_snapshot(self) -> None:
        """Whatever is open is given up."""
        self._found.clear()
        self._open.clear()
