"""What becomes of the targets: each is in the tree, or lost, alone or with the source that promised it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from limpet.contracts.source import ParentInfo, Source, Target
from limpet.errors import LimpetError, SourceError
from limpet.operations.backup.folders import FolderInWork


@dataclass(slots=True, eq=False)
class _Promise:
    source: Source
    target: Target
    folder: FolderInWork | None
    """The one above it; None where it is the root itself."""
    slot: int
    is_lost: bool = False


class Targets:
    """The targets of all sources. A source that fails fails the backup, or with `allow_partial` its targets are lost.

    `failed(error, item)` is told of each failure that the backup goes on after.
    """

    def __init__(
        self, sources: Sequence[Source], failed: Callable[[LimpetError, str], None], *, allow_partial: bool
    ) -> None:
        self._sources = sources
        self._failed = failed
        self._allow_partial = allow_partial
        self._promises: dict[bytes, _Promise] = {}
        self._lost_at_begin: list[bytes] = []

    def ask(self, parent: ParentInfo | None) -> list[tuple[Source, Target]]:
        """The targets of every source; SourceError if there are none."""
        asked: list[tuple[Source, Target]] = []
        for source in self._sources:
            try:
                lost = self._begin(source, parent)
                asked += [(source, target) for target in source.targets() if not _is_meant(target, lost)]
            except SourceError as error:
                self._lose(error, source, [])
        if not asked:
            raise SourceError("unable to save snapshot: snapshot is empty")
        return asked

    def _begin(self, source: Source, parent: ParentInfo | None) -> Sequence[bytes]:
        """The paths of targets that the source says are lost from the beginning, its others being in order."""
        try:
            source.begin(parent)
        except SourceError as error:
            if not error.targets:
                raise
            self._lose(error, source, [], error.targets)
            lost = _paths(error)
            self._lost_at_begin += lost
            return lost
        return ()

    def place(self, source: Source, target: Target, folder: FolderInWork | None, slot: int) -> None:
        """The target's node goes into this slot of the folder above it; one inside another target is never placed."""
        self._promises[target.path] = _Promise(source, target, folder, slot)

    def lose(self, error: SourceError, path: bytes) -> None:
        """What is at the path could not be read, so the target that it belongs to is lost; raises if none may be."""
        while path not in self._promises and path.strip(b"/"):
            path = path.rpartition(b"/")[0] or b"/"
        promise = self._promises[path]
        self._lose(error, promise.source, [promise])

    def finish(self) -> None:
        """Ask every source whether what was read can be trusted. SourceError if it cannot, or nothing is left."""
        for source in self._sources:
            own = [promise for promise in self._promises.values() if promise.source is source]
            if own:
                try:
                    source.finish()
                except SourceError as error:
                    self._lose(error, source, self._meant(error, own))
        self._leave_out(promise for promise in self._promises.values() if promise.is_lost)
        if all(promise.is_lost for promise in self._promises.values()):
            raise SourceError("unable to save snapshot: nothing is left of what was to be backed up")

    def _meant(self, error: SourceError, own: Sequence[_Promise]) -> Sequence[_Promise]:
        """Those of a source's promises that the error names; all where it names none, or what nobody knows."""
        meant: dict[_Promise, None] = {}
        for path in _paths(error):
            named = [one for one in own if _is_meant(one.target, [path])]
            if not named and path not in self._lost_at_begin:
                return own
            meant.update(dict.fromkeys(named))
        return list(meant) or own

    def _lose(
        self, error: SourceError, source: Source, promises: Sequence[_Promise], named: Sequence[str] = ()
    ) -> None:
        if not self._allow_partial:
            raise error
        if promises and all(promise.is_lost for promise in promises):
            return  # told already
        for promise in promises:
            promise.is_lost = True
        paths = [os.fsdecode(promise.target.path) for promise in promises] or named or source.snapshot_paths
        item = ", ".join(paths)
        self._failed(SourceError(f"left out of the snapshot: {item}: {error}"), item)

    @staticmethod
    def _leave_out(lost: Iterable[_Promise]) -> None:
        for promise in lost:
            if promise.folder is not None:
                promise.folder.slots[promise.slot] = None


def _paths(error: SourceError) -> list[bytes]:
    return [os.fsencode(path) for path in error.targets]


def _is_meant(target: Target, paths: Sequence[bytes]) -> bool:
    """Whether one of the paths is the target's, or inside or above it."""
    return any(_is_at_or_in(path, target.path) or _is_at_or_in(target.path, path) for path in paths)


def _is_at_or_in(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
