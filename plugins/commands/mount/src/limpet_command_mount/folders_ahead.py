"""Who walks through the folders of a folder one by one finds the next ones loaded: `find` and `rsync` do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice

from limpet.errors import LimpetError
from limpet.format.node import subtree_of
from limpet.operations.browse import TreeFolder

from limpet_command_mount.inodes import Directory

OPENED_IN_ORDER = 2
"""So many folders of one that were opened in order make a walk."""
MOST_AHEAD = 4
LOOKED_AT = 256
"""So many of the next entries are looked at for folders."""


class FoldersAhead:
    """Watches one walk: the last folder whose folders were opened in their order. For one thread."""

    def __init__(self, start: Callable[[Callable[[], object]], object]) -> None:
        self._start = start
        self._parent: Directory | None = None
        self._in_order = 0
        self._last_place = -1
        self._next_place = 0
        self._ahead = 0

    def opened(self, directory: Directory) -> None:
        """A folder was opened: load those that come next in its parent, if there is a walk."""
        parent, place = directory.parent, directory.place
        if parent is None or place < 0 or not isinstance(parent.folder, TreeFolder):
            return
        if parent is not self._parent or place <= self._last_place:
            self._parent, self._in_order, self._ahead, self._next_place = parent, 0, 0, place + 1
        self._in_order += 1
        self._last_place = place
        self._ahead = max(0, self._ahead - 1)
        self._next_place = max(self._next_place, place + 1)
        if self._in_order >= OPENED_IN_ORDER and self._ahead < MOST_AHEAD:
            self._load_next(parent.folder)

    def _load_next(self, folder: TreeFolder) -> None:
        listing = folder.listing_at_hand()
        if listing is None:
            return
        for _, fields in islice(listing.iterate(self._next_place), LOOKED_AT):
            self._next_place += 1
            if fields["type"] != "dir":
                continue
            inner = folder.inner(subtree_of(fields))
            if inner.is_worth_loading_ahead():
                self._start(partial(_load, inner))
            self._ahead += 1
            if self._ahead >= MOST_AHEAD:
                return


def _load(folder: TreeFolder) -> None:
    """Load its listing; what goes wrong shows when somebody opens it."""
    try:
        folder.listing()
    except LimpetError:
        return
