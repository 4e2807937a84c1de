"""Bounds on the locks of those who have fewer than full rights: a real one has less than 1 KiB, and there are few.

Everybody may write locks, or nobody could back up or restore; without bounds that would be room for anything. Who may
make no repository locks those that there are: any number of others would be room, too.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from limpet_command_serve.exchange import Refusal
from limpet_command_serve.names import Folders

MOST_LOCK_BYTES = 64 * 1024
MOST_LOCKS = 1000
"""In one repository, whoever made them."""


class LockBounds:
    """Counts the locks of a repository before one more comes. Thread-safe.

    `count` tells how many are stored, `is_repository` whether there is one.
    """

    def __init__(self, count: Callable[[Folders], int], is_repository: Callable[[Folders], bool]) -> None:
        self._count = count
        self._is_repository = is_repository
        self._lock = threading.Lock()
        self._coming: Counter[Folders] = Counter()

    def begin(self, folders: Folders, size_bytes: int | None, *, may_create: bool) -> LockGuard:
        """A guard who follows the upload of a lock; Refusal where it says at once that it is too large.

        Likewise where there is no repository and the user may not create any.
        """
        if not may_create and not self._is_repository(folders):
            raise Refusal(404, "there is no such repository")
        if size_bytes is not None:
            verify_size(size_bytes)
        return LockGuard(self, folders)

    def enter(self, folders: Folders) -> None:
        """One more is coming; Refusal where there are too many with it."""
        with self._lock:
            self._coming[folders] += 1
            coming = self._coming[folders]
        try:
            count = self._count(folders) + coming
            if count > MOST_LOCKS:
                raise Refusal(403, f"the repository has {MOST_LOCKS} locks: remove them with `unlock`")
        except BaseException:
            self.leave(folders)
            raise

    def leave(self, folders: Folders) -> None:
        """It has come, or comes no more."""
        with self._lock:
            self._coming[folders] -= 1
            if not self._coming[folders]:
                del self._coming[folders]


class LockGuard:
    """Follows the upload of one lock."""

    def __init__(self, bounds: LockBounds, folders: Folders) -> None:
        self._bounds = bounds
        self._folders = folders
        self._size_bytes = 0

    def __enter__(self) -> object:
        self._bounds.enter(self._folders)
        return self

    def __exit__(self, *_: object) -> None:
        self._bounds.leave(self._folders)

    def count(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        verify_size(self._size_bytes)

    def keep(self, size_bytes: int) -> None:
        return


def verify_size(size_bytes: int) -> None:
    """Refusal where no lock is so large."""
    if size_bytes > MOST_LOCK_BYTES:
        raise Refusal(403, f"a lock of a user without full rights has at most {MOST_LOCK_BYTES} bytes")
