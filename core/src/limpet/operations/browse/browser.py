"""A repository as a tree to look into: views, snapshots, folders, files. What `mount` and `webdav` serve."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, LimpetError, MissingFileError, NotFoundError
from limpet.format.node import Node, NodeType
from limpet.operations.browse.entry import Entry
from limpet.operations.browse.file_reader import FileReader
from limpet.operations.browse.folders import TreeFolder, Trees
from limpet.operations.browse.layout import Layout
from limpet.operations.browse.plaintexts import CACHE_BYTES, END_LIMIT_S, Plaintexts
from limpet.operations.browse.views import View, ViewFolder, build_views
from limpet.progress import Reporter, SilentReporter
from limpet.repository.snapshots import SnapshotFilter, StoredSnapshot, load_snapshots

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

SHORTEST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
PAUSE_FACTOR = 100
"""Looking for new snapshots takes a hundredth of the time at most."""


@dataclass(frozen=True, slots=True)
class BrowseSettings:
    """What is shown of a repository, and how much memory that may take."""

    layout: Layout = field(default_factory=Layout)
    snapshot_filter: SnapshotFilter = field(default_factory=SnapshotFilter)
    follow_latest: bool = False
    """Whether `latest` is a folder and no link, for those who know no links."""
    cache_bytes: int = CACHE_BYTES
    """Plaintext of files that is kept for all readers together."""


class Browser:
    """The tree. Thread-safe; every call may read from the storage, and wait for it.

    The repository must be locked (or the caller know better), and stays the caller's to close. Close the browser
    first: its threads read from the repository.
    """

    def __init__(
        self,
        repository: Repository,
        settings: BrowseSettings | None = None,
        *,
        reporter: Reporter | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Loads the snapshots and then the index; LimpetError where that fails. A damaged one is only told."""
        self._repository = repository
        self._settings = settings or BrowseSettings()
        self._reporter = reporter or SilentReporter()
        self._now_s = now_s
        self._views = View()
        self._sized: tuple[View, int] | None = None
        self._snapshot_names: frozenset[str] = frozenset()
        self._unread: frozenset[str] = frozenset()
        self._next_look_s = now_s()
        self._looking = threading.Lock()
        self._trees = Trees(repository)
        self._plaintexts = Plaintexts(repository, self._settings.cache_bytes)
        self.root: ViewFolder = ViewFolder((), lambda: self._views, self._snapshot_folder)
        """The folder with the views: `ids`, `snapshots`, ... It asks `refresh` for nothing: do that before looking."""
        self._look(self._read_snapshots)

    def refresh(self) -> bool:
        """Look for new and removed snapshots, if it is time again; whether the views have changed.

        A storage that cannot be reached is only told: the views stay as they are. Waits while another does the same.
        """
        if not self.is_due:
            return False
        with self._looking:
            return self.is_due and self._look(self._read_changes)

    @property
    def is_due(self) -> bool:
        """Whether `refresh` would look: after a second at the soonest, the later the slower the storage is."""
        return self._now_s() >= self._next_look_s

    def find(self, path: bytes) -> Entry:
        """The entry at the path, whose parts are divided by slashes; NotFoundError if there is none.

        Links are not followed. Of the root itself, `b"/"` or nothing, the name is empty.
        """
        entry = Entry(b"", self.root.node(), self.root)
        for name in path.split(b"/"):
            if name in {b"", b"."}:
                continue
            found = None if entry.folder is None else entry.folder.lookup(name)
            if found is None:
                raise NotFoundError(f"path {path.decode(errors='backslashreplace')}: not found")
            entry = found
        return entry

    def open(self, node: Node) -> FileReader:
        """The content of a regular file; close it. NotFoundError for another type."""
        if node.type is not NodeType.FILE:
            raise NotFoundError(f"{node.name.decode(errors='backslashreplace')} is no regular file")
        return FileReader(node, self._plaintexts, self._reporter)

    @property
    def size_bytes(self) -> int:
        """Size of all packs that the index names; reckoned once for each change of the views."""
        views = self._views
        if self._sized is None or self._sized[0] is not views:
            self._sized = views, sum(self._repository.index.pack_sizes().values())
        return self._sized[1]

    def close(self, limit_s: float = END_LIMIT_S) -> None:
        """Stop reading ahead; reads under way end in an error as soon as their storage lets them. Idempotent.

        Waits for threads, but no longer than the limit for those that hang in the storage.
        """
        self._plaintexts.close(limit_s)

    def _snapshot_folder(self, stored: StoredSnapshot) -> TreeFolder:
        return TreeFolder(stored.snapshot.tree, self._trees)

    def _look(self, read: Callable[[], bool]) -> bool:
        """Read, and say when to read again."""
        begun_s = self._now_s()
        try:
            return read()
        finally:
            now_s = self._now_s()
            pause_s = min(max((now_s - begun_s) * PAUSE_FACTOR, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
            self._next_look_s = now_s + pause_s

    def _read_changes(self) -> bool:
        try:
            is_changed = self._names() != self._snapshot_names or bool(self._unread)
            return is_changed and self._read_snapshots()
        except LimpetError as error:
            self._reporter.warning(f"cannot look for new snapshots: {error}")
            return False

    def _read_snapshots(self) -> bool:
        """Read the snapshots, then the index (a writer adds its index first), and build the views of them."""
        names = self._names()
        unread: set[str] = set()

        def left_out(name: str, error: LimpetError) -> None:
            if name not in self._unread:
                self._reporter.warning(f"snapshot {name[:8]} is left out: {error}")
            if isinstance(error, BackendError) and not isinstance(error, MissingFileError):
                unread.add(name)

        snapshots = load_snapshots(self._repository, left_out)
        self._repository.refresh_index(self._reporter)
        wanted = self._settings.snapshot_filter.absolute()
        shown = [stored for stored in snapshots if wanted.matches(stored.snapshot)]
        shown.sort(key=lambda stored: (stored.time_ns, stored.id))
        self._views = build_views(self._settings.layout, shown, follow_latest=self._settings.follow_latest)
        self._snapshot_names = names
        self._unread = frozenset(unread)  # the storage failed, they may be sound: the next look tries them again
        return True

    def _names(self) -> frozenset[str]:
        return frozenset(info.name for info in self._repository.list_files(FileKind.SNAPSHOT))
