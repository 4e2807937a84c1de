"""Changes what a snapshot says of itself: tags, description, protection. All else stays, unknown fields too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from limpet.contracts.backend import FileKind
from limpet.format.gojson import JsonValue
from limpet.format.snapshot import Protection, Snapshot, encode_snapshot
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot


@dataclass(frozen=True, slots=True)
class TagChange:
    """Tags to put in the place of all, or to add and to remove."""

    instead: Sequence[str] = ()
    add: Sequence[str] = ()
    remove: Sequence[str] = ()

    def apply(self, tags: Sequence[str]) -> list[str] | None:
        """The tags that follow, in restic's order; None where nothing changes. With `instead` it always does."""
        if self.instead:
            return list(self.instead)
        changed = list(tags)
        is_changed = False
        for tag in self.add:
            if tag not in changed:
                changed.append(tag)
                is_changed = True
        for tag in self.remove:
            if tag in changed:
                # As in restic the last one takes its place: the order is stored.
                changed[changed.index(tag)] = changed[-1]
                changed.pop()
                is_changed = True
        return changed if is_changed else None


def change_tags(repository: Repository, stored: StoredSnapshot, change: TagChange) -> StoredSnapshot | None:
    """The snapshot with its tags changed, stored in place of the other; None where they are as wanted already."""
    tags = change.apply(stored.snapshot.tags)
    return None if tags is None else replace_snapshot(repository, stored, replace(stored.snapshot, tags=tags))


def describe(repository: Repository, stored: StoredSnapshot, description: str) -> StoredSnapshot | None:
    """The snapshot with this description, stored in place of the other; None where it has it already."""
    if stored.snapshot.description == description:
        return None
    changed = replace(stored.snapshot, description=description, extra=_without(stored.snapshot, "description"))
    return replace_snapshot(repository, stored, changed)


def protect(repository: Repository, stored: StoredSnapshot, protection: Protection | None) -> StoredSnapshot | None:
    """The snapshot protected in this way, or no more, stored in place of the other; None where it is already."""
    if stored.snapshot.protection == protection:
        return None
    changed = replace(stored.snapshot, protection=protection, extra=_without(stored.snapshot, "delete"))
    return replace_snapshot(repository, stored, changed)


def replace_snapshot(repository: Repository, stored: StoredSnapshot, changed: Snapshot) -> StoredSnapshot:
    """`changed` stored, then the other removed. `original` names the first of a chain of such changes, as in restic.

    The caller holds an exclusive lock.
    """
    changed = replace(changed, original=stored.snapshot.original or stored.id)
    changed_id = repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(changed))
    repository.remove_unpacked(FileKind.SNAPSHOT, stored.id)
    return StoredSnapshot(changed_id, changed)


def _without(snapshot: Snapshot, field: str) -> dict[str, JsonValue]:
    return {key: value for key, value in snapshot.extra.items() if key != field}
