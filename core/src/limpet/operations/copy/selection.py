"""Which snapshots a repository has already, copied from another or the other's very own."""

from __future__ import annotations

from collections.abc import Iterable

from limpet.format.snapshot import Snapshot
from limpet.ids import StorageId
from limpet.repository.snapshots import StoredSnapshot


class CopiedBefore:
    """The snapshots of a destination, by the ids under which their first versions were made."""

    def __init__(self, destination: Iterable[StoredSnapshot]) -> None:
        self._by_original: dict[StorageId, list[StoredSnapshot]] = {}
        for stored in destination:
            for original in {stored.snapshot.original or stored.id, stored.id}:
                self._by_original.setdefault(original, []).append(stored)

    def find(self, source: StoredSnapshot) -> StoredSnapshot | None:
        """The copy of the snapshot; None if there is none, or only one that was changed since."""
        candidates = self._by_original.get(source.snapshot.original or source.id, ())
        return next((stored for stored in candidates if _are_similar(stored.snapshot, source.snapshot)), None)


def _are_similar(first: Snapshot, second: Snapshot) -> bool:
    """Whether all is the same but parent and original. Paths and tags may come in another order."""
    return (
        first.time.ns == second.time.ns
        and first.tree == second.tree
        and first.hostname == second.hostname
        and first.username == second.username
        and (first.uid, first.gid) == (second.uid, second.gid)
        and first.excludes == second.excludes
        and len(first.paths) == len(second.paths)
        and set(second.paths) <= set(first.paths)
        and len(first.tags) == len(second.tags)
        and set(second.tags) <= set(first.tags)
    )
