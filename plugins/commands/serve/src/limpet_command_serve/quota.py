"""How much is stored, and how much may be: of the whole instance, of each repository, of each user.

Room is taken as bytes arrive, before they are written, so that uploads side by side cannot pass a limit together, and
nobody holds more room than he has filled. What lets people make room again may go over a limit by a little: without a
lock and a new index nobody could forget and prune in a repository that is full.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeVar

from limpet.contracts.backend import FileKind

from limpet_command_serve.names import MOST_FOLDERS, UPLOADS, Folders

HEADROOM = 0.05
"""How much locks, index, keys and snapshots may go over a limit, as a part of it; packs never."""

K = TypeVar("K")

_KIND_NAMES = frozenset(kind.value for kind in FileKind)


class Inventory(Protocol):
    """What is stored, before anybody counts it as it comes and goes."""

    def all(self) -> Iterable[tuple[Folders, int]]:
        """Bytes by repository, each as often as it likes; an error where that cannot be known now."""

    def is_new(self, folders: Folders) -> bool:
        """Whether the repository could not be told by `all`, and nobody has asked for it since."""

    def of_new(self, folders: Folders) -> tuple[Folders, int]:
        """The bytes of that one. Once."""

    def stored(self, folders: Folders) -> None:
        """Something was stored in this one."""


class QuotaError(Exception):
    """There is no room; the message names the limit, and is for the client."""


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes; None for no limit. `user_bytes` is that of one user, his own or the one of all."""

    instance_bytes: int | None = None
    repository_bytes: int | None = None
    user_bytes: int | None = None


class Usage:
    """The bytes stored by repository, and those of uploads under way. Thread-safe.

    Nothing is known, and no limit holds, until all has been counted. Whoever changes files says so (`changing`): each
    file is counted once, either by the count or by who stored it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._changing = 0
        self._is_counting = False
        self._is_counted = False
        self._total = 0
        self._repositories: Counter[Folders] = Counter()
        self._users: Counter[str] = Counter()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """While files come or go; waits until nobody counts."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_counting)
            self._changing += 1
        try:
            yield
        finally:
            with self._changed:
                self._changing -= 1
                self._changed.notify_all()

    def count(self, walk: Callable[[], Iterable[tuple[Folders, int]]]) -> None:
        """Count what is stored, once nobody changes it. `walk` tells bytes by repository; its errors change nothing.

        Until then it holds up nobody: who changes files now may need the thread of one who would wait.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._changing)
            self._is_counting = True
        try:
            found = list(walk())
            with self._changed:
                self._is_counted = True
                for folders, size_bytes in found:
                    self._add(folders, size_bytes)
        finally:
            with self._changed:
                self._is_counting = False
                self._changed.notify_all()

    def add(self, folders: Folders, size_bytes: int) -> None:
        """Count bytes that are there, whatever the limits; a negative number for bytes that are gone."""
        with self._changed:
            self._add(folders, size_bytes)

    def verify_room(self, folders: Folders, size_bytes: int, limits: Limits, *, over: bool) -> None:
        """QuotaError where so many bytes more would not fit now. `over` is for what may use the headroom."""
        with self._changed:
            self._verify_room(folders, size_bytes, limits, over)

    def take(self, folders: Folders, size_bytes: int, limits: Limits, *, over: bool, taken_bytes: int) -> None:
        """Count bytes more of an upload that has taken so many already; QuotaError where they do not fit.

        Then all that it has taken is given back in the same moment: of uploads that have no room together one ends,
        and the others go on.
        """
        with self._changed:
            try:
                self._verify_room(folders, size_bytes, limits, over)
            except QuotaError:
                self._add(folders, -taken_bytes)
                raise
            self._add(folders, size_bytes)

    def used_bytes(self) -> int:
        """All that is stored."""
        return self._total

    def by_repository(self) -> dict[Folders, int]:
        """What each repository holds."""
        with self._changed:
            return dict(self._repositories)

    def by_user(self) -> dict[str, int]:
        """What is in each first folder."""
        with self._changed:
            return dict(self._users)

    def _verify_room(self, folders: Folders, size_bytes: int, limits: Limits, over: bool) -> None:
        for name, used, limit in (
            ("server", self._total, limits.instance_bytes),
            ("repository", self._repositories[folders], limits.repository_bytes),
            ("user", self._users[folders[0]] if folders else self._total, limits.user_bytes),
        ):
            if limit is not None and used + size_bytes > limit + (_headroom(limit) if over else 0):
                raise QuotaError(
                    f"{size_bytes} bytes more would exceed the {name}'s quota of {limit} bytes, {used} are used: "
                    f"forget and prune snapshots, or ask for more room"
                )

    def _add(self, folders: Folders, size_bytes: int) -> None:
        if not self._is_counted:
            return
        self._total += size_bytes
        _count(self._repositories, folders, size_bytes)
        if folders:
            _count(self._users, folders[0], size_bytes)


class Reservation:
    """The room of one upload, refused at once where it could not fit. Without `keep` it is given back in the end."""

    def __init__(self, usage: Usage, folders: Folders, limits: Limits, kind: FileKind, size_bytes: int | None) -> None:
        self._usage = usage
        self._folders = folders
        self._limits = limits
        self._over = kind is not FileKind.PACK
        self._size_bytes = size_bytes
        self._taken_bytes = 0
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ending:
            ending.enter_context(self._usage.changing())
            if self._size_bytes:
                self._usage.verify_room(self._folders, self._size_bytes, self._limits, over=self._over)
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._usage.add(self._folders, -self._taken_bytes)
        self._taken_bytes = 0
        self._ending.close()

    def count(self, size_bytes: int) -> None:
        """These bytes have come and are about to be written; QuotaError where they are too many."""
        taken_bytes, self._taken_bytes = self._taken_bytes, 0
        self._usage.take(self._folders, size_bytes, self._limits, over=self._over, taken_bytes=taken_bytes)
        self._taken_bytes = taken_bytes + size_bytes

    def keep(self, size_bytes: int) -> None:
        """The upload is stored, with that many bytes."""
        self._usage.add(self._folders, size_bytes - self._taken_bytes)
        self._taken_bytes = 0


class FolderInventory:
    """All files below a folder; what is in no repository yet is in none."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def all(self) -> Iterator[tuple[Folders, int]]:
        return folder_sizes(self._root)

    def is_new(self, folders: Folders) -> bool:
        return False

    def of_new(self, folders: Folders) -> tuple[Folders, int]:
        return folders, 0

    def stored(self, folders: Folders) -> None:
        return


def folder_sizes(root: Path) -> Iterator[tuple[Folders, int]]:
    """The bytes of all files in each folder below the root, with the repository it is in.

    What vanishes meanwhile is left out, and so are uploads under way: another server's, or nobody's.
    """
    pending: list[tuple[str, tuple[str, ...]]] = [(str(root), ())]
    while pending:
        folder, parts = pending.pop()
        size_bytes = 0
        for entry in _entries(folder):
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and entry.name != UPLOADS:
                    pending.append((entry.path, (*parts, entry.name)))
                elif entry.is_file(follow_symlinks=False):
                    size_bytes += entry.stat(follow_symlinks=False).st_size
        if size_bytes:
            yield repository_of(parts), size_bytes


def repository_of(parts: Sequence[str]) -> Folders:
    """The folders of the repository that a path below the root belongs to: what comes before its own."""
    folders: list[str] = []
    for name in parts[:MOST_FOLDERS]:
        if name in _KIND_NAMES or name.startswith("."):
            break
        folders.append(name)
    return tuple(folders)


def repository_folders(root: Path) -> Iterator[tuple[Folders, Path]]:
    """Every folder that may be a repository, with its path."""
    pending: list[tuple[Folders, Path]] = [((), root)]
    while pending:
        folders, path = pending.pop()
        yield folders, path
        if len(folders) < MOST_FOLDERS:
            names = [entry.name for entry in _entries(str(path)) if entry.is_dir(follow_symlinks=False)]
            below = ((*folders, name) for name in names)
            pending += [(parts, path / parts[-1]) for parts in below if repository_of(parts) == parts]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _count(counter: Counter[K], key: K, size_bytes: int) -> None:
    """Names are the clients' to choose: those that hold nothing take no memory."""
    counter[key] += size_bytes
    if not counter[key]:
        del counter[key]


def _headroom(limit_bytes: int) -> int:
    return int(limit_bytes * HEADROOM)
