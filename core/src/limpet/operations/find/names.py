"""Entries whose path fits a pattern, and whose time fits, in one snapshot after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.node import Node, decode_node, raw_name
from limpet.ids import BlobId
from limpet.operations.find.descent import ROOT, OnTreeError, read_tree, root_of, subtree_at
from limpet.operations.find.memory import SeenTrees
from limpet.patterns import NameMatcher, Patterns
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot


class Match(NamedTuple):
    """An entry that fits. `fields` is its node as it is stored."""

    snapshot: StoredSnapshot
    path: bytes
    fields: Fields

    @property
    def node(self) -> Node:
        """All that is stored of the entry; IntegrityError if it makes no sense."""
        return decode_node(self.fields)


class FindQuery:
    """What is looked for: patterns as of restic's `find`, and times of modification, both ends included."""

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        ignore_case: bool = False,
        oldest_ns: int | None = None,
        newest_ns: int | None = None,
    ) -> None:
        # A `!` is no negation here, and an empty pattern fits everything.
        texts = [f"\\{text}" if text.startswith("!") else text or "**" for text in patterns]
        self.patterns = Patterns(texts, ignore_case=ignore_case)
        self._oldest_ns = oldest_ns
        self._newest_ns = newest_ns
        self._has_times = oldest_ns is not None or newest_ns is not None

    def fits_time(self, fields: Fields) -> bool:
        """Whether the entry was modified when it should have been."""
        if not self._has_times:
            return True
        mtime_ns = read.time(fields, "mtime").ns
        return (self._oldest_ns is None or mtime_ns >= self._oldest_ns) and (
            self._newest_ns is None or mtime_ns <= self._newest_ns
        )

    def leads_below(self, folder: bytes) -> bool:
        """Whether something below the folder may fit."""
        return self.patterns.matches_or_leads(folder)[1]


def find(
    repository: Repository,
    snapshots: Sequence[StoredSnapshot],
    query: FindQuery,
    on_error: OnTreeError | None = None,
) -> Iterator[Match]:
    """Every entry that fits, snapshot by snapshot, each folder before what is in it.

    The index is loaded before. Without `on_error` a tree that cannot be read raises.
    """
    seen: SeenTrees[_Found] = SeenTrees(enabled=len(snapshots) > 1)
    for stored in snapshots:
        for path, fields in _find_in(repository, stored, query, seen, on_error):
            yield Match(stored, path, fields)


_Found = tuple[bytes, Fields]


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is being walked; the path ends with a slash."""

    path: bytes
    tree_id: BlobId
    nodes: Iterator[Fields]
    fits: NameMatcher | None


def _find_in(
    repository: Repository,
    stored: StoredSnapshot,
    query: FindQuery,
    seen: SeenTrees[_Found],
    on_error: OnTreeError | None,
) -> Iterator[_Found]:
    stack: list[_Folder] = []

    def enter(path: bytes, tree_id: BlobId, parent_id: BlobId) -> Sequence[_Found] | None:
        """Go into the folder, or give what was found in it before; None if it cannot be read."""
        if not query.leads_below(path):
            return ()
        known = seen.get(tree_id, path)
        if known is not None:
            return known
        nodes = read_tree(repository, stored, tree_id, parent_id, on_error)
        if nodes is None:
            return None
        prefix = path if path == ROOT else path + b"/"
        stack.append(_Folder(prefix, tree_id, nodes, query.patterns.within(path)))
        return ()

    seen.next_snapshot()
    root_id = root_of(stored)
    yield from enter(ROOT, root_id, root_id) or ()
    seen.enter()
    while stack:
        folder = stack[-1]
        fits, prefix, depth = folder.fits, folder.path, len(stack)
        for fields in folder.nodes:
            name = raw_name(fields)
            is_folder = fields.get("type") == "dir"
            matches = fits is not None and fits(name)
            if not (matches or is_folder):
                continue
            path = prefix + name
            below = enter(path, subtree_at(fields, path), folder.tree_id) if is_folder else ()
            if below is None:
                continue  # as in restic, a folder that cannot be read is not found either
            if matches and query.fits_time(fields):
                seen.found((path, fields))
                yield path, fields
            for one in below:
                seen.found(one)
                yield one
            if len(stack) > depth:
                seen.enter()
                break
        else:
            stack.pop()
            seen.leave(folder.tree_id, prefix[:-1] or ROOT)
