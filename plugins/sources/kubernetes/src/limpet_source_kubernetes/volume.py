"""The content of one volume, from inside a container or from the node's own file system."""

from __future__ import annotations

import io
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISLNK
from typing import BinaryIO, cast

from limpet import filesystem
from limpet.contracts.source import Entry, Folder, Target
from limpet.errors import SourceError

from limpet_source_kubernetes.archive import ArchiveReader
from limpet_source_kubernetes.batches import Batch, in_batches
from limpet_source_kubernetes.container import Container
from limpet_source_kubernetes.listing import ROOT, Listed, Tree, made_folder, read_tree
from limpet_source_kubernetes.remote import RemoteCommand
from limpet_source_kubernetes.scripts import NO_FOLDER, list_argv, read_argv
from limpet_source_kubernetes.selection import Chooser
from limpet_source_kubernetes.telling import Telling

_VANISHED = "No such file or directory"
"""What was gone before `find` came to it is no error, as in any file system that is in use."""


class Volume(ABC):
    """A volume that is read once, after it was entered."""

    def __init__(self, path: str, before: Callable[[], None] | None = None) -> None:
        self.path = path
        """In the snapshot."""
        self._before = before

    @abstractmethod
    def target(self) -> Target:
        """The volume's root folder; SourceError if it cannot be reached."""

    def folders(self) -> Iterator[Folder]:
        """The root folder and all below it, once what must come before was done; SourceError if it cannot be read."""
        if self._before is not None:
            try:
                self._before()
            except SourceError as error:
                raise SourceError(str(error), targets=[self.path]) from error
        yield from self._folders()

    @abstractmethod
    def _folders(self) -> Iterator[Folder]:
        """The root folder and all below it."""

    def finish(self) -> None:  # noqa: B027  # real files are read by the core
        """SourceError if what was read cannot be trusted."""

    def close(self) -> None:  # noqa: B027
        """Stop reading. Idempotent."""


class LostVolume(Volume):
    """A volume that cannot be read, and says so when it is to be: others can be saved without it."""

    def __init__(self, path: str, problem: SourceError) -> None:
        super().__init__(path)
        self._problem = problem

    def target(self) -> Target:
        path = os.fsencode(self.path)
        return Target(path, Entry(path.rpartition(b"/")[2], made_folder(0), made=True))

    def _folders(self) -> Iterator[Folder]:
        self.finish()
        return iter(())

    def finish(self) -> None:
        raise SourceError(str(self._problem), targets=[self.path]) from self._problem


class NodeVolume(Volume):
    """A volume that is mounted on this machine, which is the node: real files, which the core itself opens."""

    def __init__(
        self,
        path: str,
        chooser: Chooser,
        telling: Telling,
        real_path: bytes,
        before: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(path, before)
        self._chooser = chooser
        self._telling = telling
        self._real_path = real_path

    def target(self) -> Target:
        try:
            status = os.stat(self._real_path)
        except OSError as error:
            raise SourceError(f"{os.fsdecode(self._real_path)}: {error.strerror}", targets=[self.path]) from error
        name = os.fsencode(self.path).rpartition(b"/")[2]
        entry = Entry(name, status, subfolder_path=self._real_path)
        return Target(os.fsencode(self.path), entry, self._real_path.rpartition(b"/")[0])

    def _folders(self) -> Iterator[Folder]:
        device = os.stat(self._real_path).st_dev
        waiting = [(os.fsencode(self.path), self._real_path)]
        while waiting:
            path, real_path = waiting.pop()
            try:
                found = self._read(path, real_path)
            except OSError as error:
                if real_path == self._real_path:
                    raise SourceError(
                        f"{os.fsdecode(real_path)}: {error.strerror or error}", targets=[self.path]
                    ) from error
                self._telling.failed(error, os.fsdecode(real_path))
                continue
            yield Folder(path, found, real_path)
            inner = [entry for entry in found if S_ISDIR(entry.stat.st_mode)]
            for entry in reversed(inner):
                below = path + b"/" + entry.name
                if entry.stat.st_dev == device:
                    waiting.append((below, real_path + b"/" + entry.name))
                else:  # another volume is mounted there
                    yield Folder(below, [], real_path + b"/" + entry.name)

    def _read(self, path: bytes, real_path: bytes) -> list[Entry]:
        descriptor = filesystem.open_folder(real_path, follow=False)
        try:
            entries = []
            with os.scandir(descriptor) as listing:
                for item in listing:
                    try:
                        status = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since it was listed
                    entries.append(Entry(os.fsencode(item.name), status))
            return self._chooser.chosen(path, entries, lambda name, size: _read_start(descriptor, name, size))
        finally:
            os.close(descriptor)


def _read_start(folder: int, name: bytes, size_bytes: int) -> bytes:
    try:
        descriptor = filesystem.open_file(name, dir_fd=folder)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size_bytes)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


class ContainerVolume(Volume):
    """A volume that a container has mounted at `folder`, read by commands in there. `after` is called when all is."""

    def __init__(
        self,
        path: str,
        chooser: Chooser,
        telling: Telling,
        container: Container,
        folder: str,
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(path, before)
        self._chooser = chooser
        self._telling = telling
        self._container = container
        self._folder = folder
        self._after = after
        self._lock = threading.Lock()
        self._batches: list[Batch] = []
        self._in_work = 0
        """Batches that have not ended, and one for the walk."""

    def target(self) -> Target:
        _, root = self._list(is_only_root=True)
        path = os.fsencode(self.path)
        return Target(path, Entry(path.rpartition(b"/")[2], root.status(), made=True))

    def _folders(self) -> Iterator[Folder]:
        self.close()  # asked again: what was read the last time is of no interest
        self._batches.clear()
        self._in_work = 1
        tree, _ = self._list()
        yield from in_batches(self._walk(tree), self._begin_batch)
        self._settle()

    def finish(self) -> None:
        for batch in self._batches:
            batch.check()

    def close(self) -> None:
        for batch in self._batches:
            batch.close()

    def _begin_batch(self) -> Batch:
        with self._lock:
            self._in_work += 1
        batch = Batch(str(self._container), self._start, self._complained, self._settle)
        self._batches.append(batch)
        return batch

    def _settle(self) -> None:
        with self._lock:
            self._in_work -= 1
            is_read = self._in_work == 0
        if is_read and self._after is not None:
            self._after()

    def _start(self, names: bytes) -> RemoteCommand:
        command = self._container.run(read_argv(self._folder, len(names)), self._telling.warning, has_input=True)
        # The names are read before anything is written; the other end holds back what it cannot take at once.
        threading.Thread(target=_feed, args=(command, names), name="limpet-names", daemon=True).start()
        return command

    def _complained(self, text: str) -> None:
        self._telling.lost(text, self.path)

    def _walk(self, tree: Tree) -> Iterator[tuple[bytes, Folder]]:
        waiting = [(ROOT, os.fsencode(self.path))]
        while waiting:
            relative, path = waiting.pop()
            entries = [entry for item in tree.pop(relative, []) if (entry := self._entry(path, item)) is not None]
            chosen = self._chooser.chosen(path, entries, partial(self._read_start, relative))
            yield relative, Folder(path, chosen)
            inner = [entry.name for entry in chosen if S_ISDIR(entry.stat.st_mode)]
            waiting += [(relative + b"/" + name, path + b"/" + name) for name in reversed(inner)]

    def _entry(self, folder: bytes, listed: Listed) -> Entry | None:
        status = listed.status()
        if S_ISBLK(status.st_mode) or S_ISCHR(status.st_mode):
            where = os.fsdecode(folder + b"/" + listed.name)
            self._telling.lost(f"{where}: a device cannot be saved from inside a container", where)
            return None
        link_target = listed.link_target if S_ISLNK(status.st_mode) else None
        return Entry(listed.name, status, made=True, link_target=link_target)

    def _list(self, *, is_only_root: bool = False) -> tuple[Tree, Listed]:
        """The listing; SourceError if there is none, or nobody knows whether it is whole."""
        complaints: list[str] = []
        problem: SourceError | None = None
        with closing(
            self._container.run(list_argv(self._folder, is_only_root=is_only_root), complaints.append)
        ) as command:
            try:
                tree, root = read_tree(command)
            except SourceError as error:
                problem = error
            code = command.wait()
        if code > 1 or problem is not None:
            raise SourceError(self._why_not_listed(code, complaints[-1:], problem), targets=[self.path]) from problem
        for complaint in complaints:
            if not complaint.endswith(_VANISHED):
                self._telling.lost(f"{self._container}: {complaint}", self.path)
        return tree, root

    def _why_not_listed(self, code: int, said: list[str], problem: SourceError | None) -> str:
        if code == NO_FOLDER:
            return f"{self._container}: there is no folder {self._folder} to read the volume from"
        if code in (126, 127):
            reason = f" ({said[0]})" if said else ""
            return (
                f"{self._container}: a shell, find, xargs, head and tar are needed in there{reason}; "
                f"where they are not, use -o kubernetes.method=snapshot"
            )
        reason = f": {said[0]}" if said else f": {problem}" if problem is not None else ""
        return f"{self._container}: the volume cannot be listed: exit status {code}{reason}"

    def _read_start(self, relative: bytes, name: bytes, size_bytes: int) -> bytes:
        path = relative + b"/" + name
        with closing(self._start(path + b"\0")) as command:
            archive = ArchiveReader(cast("BinaryIO", io.BufferedReader(command)), str(self._container))
            member = archive.next()
            if member is None or not member.is_regular:
                return b""
            buffer = memoryview(bytearray(size_bytes))
            return bytes(buffer[: archive.readinto(buffer)])


def _feed(command: RemoteCommand, names: bytes) -> None:
    with suppress(SourceError):  # Who reads the command sees that it was cut, and says so.
        command.feed(names)
