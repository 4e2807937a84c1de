"""Decides for every entry of the snapshot what is to be done, makes the folders, and has all done that needs no data.

What is left in the end is which blobs go where (`Needs`), and what can only come last.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from limpet.format.filemode import NodeType
from limpet.operations.restore import tasks
from limpet.operations.restore.needs import Needs
from limpet.operations.restore.options import Overwrite
from limpet.operations.restore.record import Entry
from limpet.operations.restore.regular import BATCH_SIZE, RegularFiles
from limpet.operations.restore.run import RestoreError, Run
from limpet.operations.restore.target import join
from limpet.operations.restore.taskqueue import Batch
from limpet.operations.restore.traverse import WalkedFolder

_SPECIALS = {NodeType.SYMLINK, NodeType.FIFO, NodeType.SOCKET, NodeType.DEV, NodeType.CHARDEV}


@dataclass(frozen=True, slots=True)
class HardLink:
    """A further name of a file that is restored under another one."""

    folder: bytes
    name: bytes
    first_folder: bytes
    first_name: bytes


class Planner:
    """The visitor that plans. `hard_links`, `folders` and `surplus` are for the end, in the order to take them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.hard_links: list[HardLink] = []
        self.folders: list[tuple[bytes, bytes]] = []
        """`(path, record)`, what is deeper first."""
        self.surplus: list[tuple[bytes, bytes]] = []
        """`(folder, name)` of what is there and not in the snapshot."""
        self._first_names: dict[tuple[NodeType, int, int], tuple[bytes, bytes]] = {}
        self._regular = RegularFiles(run)
        self._specials = Batch(run.queue, BATCH_SIZE, tasks.create_specials, self._specials_made)

    @property
    def needs(self) -> Needs:
        """The blobs to load; complete after `finish`."""
        return self._regular.needs

    def finish(self) -> None:
        """Wait until everything that was begun during the walk is done."""
        self._run.queue.drain()  # comparisons decide about files
        self._specials.flush()
        self._regular.flush()
        self._run.queue.drain()

    # -- folders ------------------------------------------------------------------------------------------------

    def enter_folder(self, folder: WalkedFolder) -> None:
        """Make the folder."""
        if folder.node is not None:
            self._run.expect()
        self._make_ready(folder)

    def leave_folder(self, folder: WalkedFolder) -> None:
        """Remember what is to be done at the end, when nothing in it changes any more."""
        if self._run.options.delete and folder.is_ready and not folder.is_new and folder.is_complete:
            self._find_surplus(folder)
        if folder.node is not None:
            self.folders.append((folder.path, folder.node.record()))

    def _make_ready(self, folder: WalkedFolder) -> bool:
        """Whether the folder is there, made now if need be with all above it; failures are reported once."""
        if folder.is_ready:
            return True
        missing = []
        above: WalkedFolder | None = folder
        while above is not None and not above.is_ready and not above.is_lost:
            missing.append(above)
            above = above.parent
        for each in reversed(missing):
            if each.parent is None:
                each.is_new = not self._run.target.exists
            elif each.parent.is_lost:
                each.is_lost = True
            else:
                self._make(each, each.parent)
            each.is_ready = not each.is_lost
        return folder.is_ready

    def _make(self, folder: WalkedFolder, parent: WalkedFolder) -> None:
        assert folder.node is not None
        name = folder.node.name
        try:
            if self._run.options.dry_run:
                status = None if parent.is_new else self._run.target.stat(parent.path, name)
                folder.is_new = status is None or not stat.S_ISDIR(status.st_mode)
            else:
                folder.is_new = self._run.target.make_folder(parent.path, name)
        except OSError as error:
            folder.is_lost = True
            reason = f"cannot make the folder, nothing in it is restored: {error.strerror}"
            self._run.report(b"/" + folder.path, RestoreError(reason))

    def _find_surplus(self, folder: WalkedFolder) -> None:
        select = self._run.options.select
        try:
            present = os.listdir(self._run.target.open_folder(folder.path))
        except OSError as error:
            self._run.report(b"/" + folder.path, RestoreError(f"cannot list the folder: {error.strerror}"))
            return
        for text in sorted(present):
            name = os.fsencode(text)
            if name in folder.names:
                continue
            # As in restic, only what the selection would restore may be deleted.
            if select is None or select(b"/" + join(folder.path, name), False)[0]:
                self.surplus.append((folder.path, name))

    # -- everything else ----------------------------------------------------------------------------------------

    def visit(self, folder: WalkedFolder, node: Entry) -> None:
        """Plan one entry."""
        run = self._run
        kind = node.type
        if kind is NodeType.FILE:
            run.result.restored.append(0)
        if not self._make_ready(folder):
            return
        existing = None
        if not folder.is_new:
            try:
                existing = run.target.stat(folder.path, node.name)
            except OSError as error:
                run.report(b"/" + join(folder.path, node.name), RestoreError(str(error.strerror)))
                return
        if kind is not NodeType.FILE and kind not in _SPECIALS:
            run.expect()
            error_text = f"filetype {kind.value!r} cannot be restored"
            run.report(b"/" + join(folder.path, node.name), RestoreError(error_text))
            return
        may_replace = existing is None or self._may_replace(node, existing)
        first = None if node.links <= 1 else self._first_name(folder, node)
        if first is not None:
            self._plan_link(HardLink(folder.path, node.name, *first), may_replace)
        elif kind is not NodeType.FILE:
            self._plan_special(folder.path, node, may_replace)
        elif may_replace:
            self._regular.plan(folder.path, node, len(run.result.restored) - 1, existing)
        else:
            run.skip(b"/" + join(folder.path, node.name), node.size)

    def _may_replace(self, node: Entry, existing: os.stat_result) -> bool:
        overwrite = self._run.options.overwrite
        if overwrite is Overwrite.IF_NEWER:
            return node.mtime_ns > existing.st_mtime_ns
        return overwrite is not Overwrite.NEVER

    def _first_name(self, folder: WalkedFolder, node: Entry) -> tuple[bytes, bytes] | None:
        """Folder and name under which the same file was met before; else it is remembered as the first."""
        key = node.link_key
        first = self._first_names.get(key)
        if first is None:
            self._first_names[key] = (folder.path, node.name)
        return first

    def _plan_link(self, link: HardLink, may_replace: bool) -> None:
        location = b"/" + join(link.folder, link.name)
        self._run.expect()
        if not may_replace:
            self._run.skip(location, 0)
        elif self._run.options.dry_run:
            self._run.other_done(location)
        else:
            self.hard_links.append(link)

    def _plan_special(self, folder: bytes, node: Entry, may_replace: bool) -> None:
        run = self._run
        location = b"/" + join(folder, node.name)
        run.expect()
        if not may_replace:
            run.skip(location, 0)
        elif run.options.dry_run:
            run.other_done(location)
        else:
            record, whole = node.record(), node.node()
            number = run.files.add(folder, record, size=0, missing=0, ordinal=-1, is_update=False)
            self._specials.add((number, folder, record, whole.link_target, whole.device))

    def _specials_made(self, items: list[tuple[int, bytes, bytes, bytes, int]], failures: list[tasks.Failure]) -> None:
        self._run.files_failed(failures)
        for number, *_ in items:
            if number not in self._run.files.failed:
                self._run.other_done(self._run.files.location(number))
