"""`FilesSource`: files and folders of the local file system, selected and placed as restic does."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from stat import S_ISDIR, S_ISLNK, S_ISREG
from threading import Lock
from typing import BinaryIO, ClassVar, Self

from limpet import filesystem
from limpet.contracts.left_out import StatusCheck
from limpet.contracts.source import Entry, Folder, Source, SourceRequest, StatLike, Target
from limpet.errors import SourceError, UsageError
from limpet.patterns import NameMatcher
from limpet.progress import Reporter, SilentReporter

from limpet_source_files.frozen import FrozenCopies
from limpet_source_files.selection import Selector
from limpet_source_files.targets import Location, Place, WorkingFolder, clean, components, find, leaves, plan
from limpet_source_files.walk import Walker

NO_TARGETS = "nothing to backup, please specify source files/dirs"
ALL_MISSING = "all source directories/files do not exist"
EMPTY = "snapshot is empty"


class FilesSource(Source):
    """Files and folders named by paths.

    A target that is missing, and all that cannot be read below one, is told to the reporter as an error and left
    out: a folder entry that no `Folder` follows could not be read. What vanishes while it is listed is not an error.
    """

    contract_version: ClassVar[int] = 1
    reads_frozen: ClassVar[bool] = True

    def __init__(self, request: SourceRequest) -> None:
        self._reporter: Reporter = request.reporter or SilentReporter()
        self._selection = request.selection
        self._error_count = 0
        Selector(request.selection, {})  # a bad pattern is found before anything is read
        self._working_folder = WorkingFolder.current()
        self._copies = FrozenCopies(request.targets, request.read_from, self._working_folder)
        self._arguments = self._existing(request.targets, request.read_from)
        self._root: Place | None = None
        self._locations: dict[bytes, Location] = {}
        self._targets: list[Target] = []
        self._planning = Lock()
        self._closed = False

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """UsageError without targets or for a bad pattern; SourceError if none of the targets exists."""
        if not request.targets:
            raise UsageError(NO_TARGETS)
        return cls(request)

    @property
    def snapshot_paths(self) -> Sequence[str]:
        """The absolute path of every argument that exists, in the order given."""
        return [os.fsdecode(self._working_folder.locate(clean(argument)).shown) for argument in self._arguments]

    @property
    def error_count(self) -> int:
        """Missing targets, and files and folders that could not be read."""
        return self._error_count

    def targets(self) -> Sequence[Target]:
        """Every target in the order of a walk through the snapshot; one for the root where only it is asked for."""
        with self._planning:  # the scan has a thread of its own
            if self._root is None:
                self._root, self._targets = self._plan()
            return self._targets

    def folders(self, target: Target) -> Iterator[Folder]:
        """The target's folder and all below it; nothing, told to the reporter, if it cannot be read."""
        if not S_ISDIR(target.entry.stat.st_mode):
            return iter(())
        walker = Walker(self._selector(), self._failed, self._reporter.warning, self._copies.devices)
        found = walker.folders(target.path, self._locations[target.path], target.entry.stat)
        if target.path != b"/":
            return found
        return _not_empty(found)

    def folder_stat(self, path: bytes) -> StatLike | None:
        """Status of the real folder above a target; through a symlink, as restic does."""
        location = self._above_targets(path)
        if location is None:
            return None
        try:
            return os.stat(location.real)
        except OSError as error:
            self._failed(error, location.shown)
            return None

    def folder_path(self, path: bytes) -> bytes | None:
        """Real path of the folder that lends a folder above targets its metadata."""
        location = self._above_targets(path)
        return None if location is None else location.real

    def shown_path(self, real_path: bytes) -> bytes:
        """Where it is in the live file system, if it is in a frozen copy."""
        return self._copies.original(real_path)

    @property
    def devices(self) -> Mapping[int, int]:
        """Those of frozen copies."""
        return self._copies.devices

    def scan(self) -> tuple[int, int]:
        """Regular files and bytes that are selected; stops early when the source is closed."""
        walker = Walker(self._selector(), self._scan_failed, _ignore, {})
        files = size_bytes = 0
        for target in self.targets():
            status = target.entry.stat
            if S_ISDIR(status.st_mode):
                counted = walker.count(self._locations[target.path], status, lambda: self._closed)
                files, size_bytes = files + counted[0], size_bytes + counted[1]
            elif S_ISREG(status.st_mode):
                files, size_bytes = files + 1, size_bytes + status.st_size
        return files, size_bytes

    def close(self) -> None:
        """Stop a scan that still runs; nothing else is held between calls."""
        self._closed = True

    def _above_targets(self, path: bytes) -> Location | None:
        self.targets()
        assert self._root is not None
        place = find(self._root, path)
        return None if place is None or place.folder is None else self._locate(place.folder)

    def _locate(self, target: bytes) -> Location:
        """Where a clean target is opened, in a frozen copy where there is one, and where people find it."""
        return self._copies.locate(self._working_folder.locate(target))

    def _existing(self, targets: Sequence[str], frozen: Container[str]) -> list[bytes]:
        """The arguments that exist. SourceError if none does."""
        existing = []
        for text in targets:
            try:
                # Not its clean form: the kernel follows symlinks before it goes up by `..`.
                filesystem.lstat(self._locate(clean(os.fsencode(text))).real if text in frozen else os.fsencode(text))
            except (FileNotFoundError, ValueError):
                self._skipped(text, "does not exist")
            except OSError as error:
                self._skipped(text, f"cannot be accessed ({error.strerror})")
            else:
                existing.append(os.fsencode(text))
        if not existing:
            raise SourceError(ALL_MISSING)
        return existing

    def _plan(self) -> tuple[Place, list[Target]]:
        distinct = {clean(argument) for argument in self._arguments}
        if len(distinct) == 1 and not components(*distinct):
            location = self._locate(*distinct)
            self._locations[b"/"] = location
            status = os.stat(location.real)
            entry = Entry(b"", status, subfolder_path=location.real)
            return Place(), [Target(b"/", entry, location.real)]
        root = plan(self._arguments, lambda target: self._locate(target).real)
        chooser = _Chooser(self._selector())
        targets = []
        for path, place in leaves(root):
            assert place.target is not None
            location = self._locate(place.target)
            try:
                status = filesystem.lstat(location.real)
                if not place.is_explicit and chooser.leaves_out(location, status):
                    continue
                targets.append(_target(path, location, filesystem.on_device(status, self._copies.devices)))
            except OSError as error:
                self._failed(error, location.shown)
                continue
            self._locations[path] = location
        if not targets:
            raise SourceError(EMPTY)
        return root, targets

    def _selector(self) -> Selector:
        devices = {}
        if self._selection.one_file_system:
            for argument in self._arguments:
                location = self._locate(clean(argument))
                devices[location.shown] = filesystem.lstat(location.real).st_dev
        return Selector(self._selection, devices)

    def _failed(self, error: OSError, path: bytes) -> None:
        self._error_count += 1
        self._reporter.error(_describe(error, path), during="archival", item=os.fsdecode(path))

    def _skipped(self, text: str, reason: str) -> None:
        self._error_count += 1
        self._reporter.warning(f"{text} {reason}, skipping")

    def _scan_failed(self, error: OSError, path: bytes) -> None:
        # Not counted: the walk meets it again.
        self._reporter.error(_describe(error, path), during="scan", item=os.fsdecode(path))


def _ignore(*_told: object) -> None:
    """What the scan meets, the walk meets again."""


class _Chooser:
    """Selects among targets that nobody named: the entries that took the place of a folder that was."""

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._checks: dict[bytes, tuple[NameMatcher | None, StatusCheck | None]] = {}

    def leaves_out(self, location: Location, status: StatLike) -> bool:
        parent, name = _split(location.shown)
        if parent not in self._checks:
            fd = filesystem.open_folder(_split(location.real)[0])
            try:
                by_name = self._selector.names_left_out(parent, fd, _ignore)
                by_status = self._selector.status_check(parent, os.fstat(fd))
            finally:
                os.close(fd)
            self._checks[parent] = by_name, by_status
        by_name, by_status = self._checks[parent]
        return (by_name is not None and by_name(name)) or (by_status is not None and by_status(name, status))


def _target(path: bytes, location: Location, status: StatLike) -> Target:
    """The target; one that is no folder and had to be renamed is read by this source, without its attributes."""
    name = _split(path)[1]
    folder, real_name = _split(location.real)
    if name == real_name:
        return Target(path, Entry(name, status), folder)
    if S_ISDIR(status.st_mode):
        return Target(path, Entry(name, status, subfolder_path=location.real), folder)
    link_target = os.readlink(location.real) if S_ISLNK(status.st_mode) else None
    stream = (lambda: _open_stream(location.real)) if S_ISREG(status.st_mode) else None
    return Target(path, Entry(name, status, stream=stream, link_target=link_target, made=True))


def _open_stream(path: bytes) -> BinaryIO:
    folder, name = _split(path)
    folder_fd = filesystem.open_folder(folder)
    try:
        return os.fdopen(filesystem.open_file(name, dir_fd=folder_fd), "rb")
    finally:
        os.close(folder_fd)


def _split(path: bytes) -> tuple[bytes, bytes]:
    folder, _, name = path.rpartition(b"/")
    return folder or b"/", name


def _not_empty(folders: Iterator[Folder]) -> Iterator[Folder]:
    """The folders; SourceError if the first one, the snapshot's root, would be empty."""
    root = next(folders, None)
    if root is None or not root.entries:
        raise SourceError(EMPTY)
    yield root
    yield from folders


def _describe(error: OSError, path: bytes) -> SourceError:
    described = SourceError(f"{os.fsdecode(path)}: {error.strerror or error}")
    described.__cause__ = error
    return described
