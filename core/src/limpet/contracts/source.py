"""The contract of a source: what is to be backed up, a folder at a time.

A source names targets and yields folders; the core compares, reads, chunks and stores. A file of the real
file system is opened by the core through the folder's path; any other file brings a stream.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol, Self

from limpet.contracts.options import Option, Options
from limpet.progress import Reporter

if TYPE_CHECKING:
    from limpet.contracts.destination import Destination

SOURCE_CONTRACT = 1


class StatLike(Protocol):
    """What the core reads of a file's status; `os.stat_result` is one."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_atime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...
    @property
    def st_rdev(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MadeStat:
    """The status of a file that is not in a file system. Times are nanoseconds since 1970."""

    st_mode: int
    st_mtime_ns: int
    st_size: int = 0
    st_uid: int = 0
    st_gid: int = 0
    st_ino: int = 0
    st_dev: int = 0
    st_nlink: int = 1
    st_rdev: int = 0

    @property
    def st_atime_ns(self) -> int:
        return self.st_mtime_ns

    @property
    def st_ctime_ns(self) -> int:
        return self.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a stream: a hole reads as zeros, an unchanged one as in the parent snapshot. Bytes.

    Neither is read, so a stream with extents can `seek`. Only what is surely so may be said to be unchanged: the
    source was told by `begin` which snapshot the parent is.
    """

    offset_bytes: int
    length_bytes: int
    is_hole: bool = False
    is_unchanged: bool = False


@dataclass(slots=True)
class Entry:
    """One name in a folder. Without `stream` and `made` it is real: the core opens it below `Folder.open_path`."""

    name: bytes
    stat: StatLike
    stream: Callable[[], BinaryIO] | None = None
    """Opens the content of a file that is not in the file system; called once, closed by the core.

    Reading raises SourceError where the content cannot be trusted any more: the target is lost with all that is in it.
    OSError leaves out this one file, as one of the file system that cannot be read; but a lost connection
    (ConnectionError, TimeoutError) is as bad as SourceError.
    """
    extents: Sequence[Extent] | None = None
    """Of a stream: what need not be read, in order; all else is. None if nothing is known.

    Looked at once the stream is open, in the thread that reads it: a sequence may find out only then.
    """
    link_target: bytes | None = None
    """Of a symlink that is not in the file system."""
    made: bool = False
    """Not in the file system: the core reads neither attributes nor link target itself."""
    subfolder_path: bytes | None = None
    """Real path of a folder, where it is not `Folder.open_path` + name (a target renamed to be unique)."""

    def real_path(self, open_path: bytes | None) -> bytes | None:
        """Where it is in the file system, by its folder's path there; None if it is made."""
        if self.made or (open_path is None and self.subfolder_path is None):
            return None
        return self.subfolder_path or os.path.join(open_path or b"", self.name)


@dataclass(slots=True)
class Folder:
    """One folder with all entries that belong into the snapshot, sorted by name, each name once."""

    path: bytes
    """Path inside the snapshot, absolute: `b"/home/u"`; `b"/"` for the root."""
    entries: list[Entry]
    open_path: bytes | None = None
    """Where the core opens the entries; may be longer than PATH_MAX. None if nothing in it is real."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing asked for: the entry at `path` (its last component is `entry.name`).

    A target whose path is `b"/"` stands for the root folder itself; its entry's name is empty.
    """

    path: bytes
    entry: Entry
    open_path: bytes | None = None
    """Real path of the folder that holds the entry."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run leaves out. Every source with folders honours it. Patterns are restic's (`limpet.patterns`)."""

    exclude: Sequence[str] = ()
    exclude_insensitive: Sequence[str] = ()
    exclude_caches: bool = False
    exclude_if_present: Sequence[str] = ()
    exclude_larger_than_bytes: int | None = None
    exclude_cloud_files: bool = False
    one_file_system: bool = False
    rejected_by_hook: Callable[[bytes, StatLike], bool] | None = None
    """Set by the core where hooks want a say; asked last."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """All that a source is opened with."""

    targets: Sequence[str]
    """What follows the scheme in each argument of this source (paths for the files source)."""
    options: Options = field(default_factory=dict)
    selection: Selection = Selection()
    reporter: Reporter | None = None
    time_ns: int | None = None
    """The snapshot's time, which what is only made up gets too; None for now."""
    read_from: Mapping[str, str] = field(default_factory=dict)
    """Where a hook made a frozen copy: targets by the place to read them from. The snapshot shows the target's own."""
    own_places: Sequence[str] = ()
    """Paths that the run itself writes to: a local repository, the cache.

    A source that stops writes to a file system must not stop these: both would wait for each other.
    """


@dataclass(frozen=True, slots=True)
class ParentInfo:
    """The snapshot that a backup compares with."""

    id: str
    """64 hexadecimal digits."""
    time_ns: int


class Source(ABC):
    """Delivers targets and folders. Used by one thread; streams may be read by others.

    The streams of a source are asked for in the order in which their entries came, several at a time: one may wait
    until those before it were read.

    Order of calls: `open`, `begin`, `targets`, `folders` for each target that is a folder, `finish`, `saved`, `close`.
    What goes wrong is a SourceError from any of them: it fails the snapshot, or with `--allow-partial` leaves out
    the source, or the targets that the error names.
    """

    contract_version: ClassVar[int] = SOURCE_CONTRACT
    options: ClassVar[Sequence[Option]] = ()
    has_parent: ClassVar[bool] = True
    """Whether a parent snapshot makes sense; False for pure streams."""
    reads_frozen: ClassVar[bool] = False
    """Whether it honours `SourceRequest.read_from`; where it does not, a hook that offers a frozen copy is in error."""
    destination: ClassVar[type[Destination] | None] = None
    """The way back, where there is one: what `limpet restore --into SCHEME:...` feeds."""

    @classmethod
    @abstractmethod
    def open(cls, request: SourceRequest) -> Self:
        """A source for the request; UsageError if it makes no sense."""

    @property
    @abstractmethod
    def snapshot_paths(self) -> Sequence[str]:
        """What the snapshot records as `paths`: absolute paths, or one name for a stream."""

    @property
    def error_count(self) -> int:
        """How much could not be read so far, each told to the reporter: the backup is incomplete, exit code 3."""
        return 0

    def begin(self, parent: ParentInfo | None) -> None:  # noqa: B027  # most sources have no use for it
        """Told before anything is asked for: which snapshot unchanged ranges refer to, None where there is none.

        The place to see whether servers answer. A SourceError with targets loses these alone: the others are asked for.
        """

    @abstractmethod
    def targets(self) -> Sequence[Target]:
        """What is to be saved; SourceError if nothing can be. Problems with single targets go to `errors`."""

    def folders(self, target: Target) -> Iterator[Folder]:
        """The target's folder and all below it, each folder before the folders inside it."""
        return iter(())

    def folder_stat(self, path: bytes) -> StatLike | None:
        """Status of a folder above a target, by its path in the snapshot; None where it is only made up."""
        return None

    def folder_path(self, path: bytes) -> bytes | None:
        """Real path of a folder above a target, to read its attributes from; None where it is only made up."""
        return None

    def shown_path(self, real_path: bytes) -> bytes:
        """The path by which people know what is read at `real_path`; another one where that is a frozen copy."""
        return real_path

    @property
    def devices(self) -> Mapping[int, int]:
        """For the devices of frozen copies, by their numbers: the numbers to record, those of the originals.

        A copy has another one in each run, which would make all hard links look new. Entries show the recorded ones.
        """
        return {}

    def scan(self) -> tuple[int, int]:
        """Files and bytes to come, for the progress bar; runs in a thread of its own, may be slow or (0, 0)."""
        return (0, 0)

    def finish(self) -> None:  # noqa: B027  # most sources have nothing to add here
        """Called after the last byte was read and before the snapshot is saved.

        SourceError if what was read cannot be trusted, say because a command failed: no snapshot then.
        """

    def saved(self, snapshot_id: str) -> None:  # noqa: B027  # most sources have nothing to remember
        """Told when the snapshot is in the repository, for a source that remembers what it holds; not on a dry run."""

    @abstractmethod
    def close(self) -> None:
        """Release everything, also after a failure: stop commands, remove temporary things. Idempotent."""
