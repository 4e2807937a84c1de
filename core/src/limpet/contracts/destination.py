"""The contract of a destination: what a source delivered goes back to where it came from, or into a copy of it.

`limpet restore SNAPSHOT --into postgres://localhost/shop_copy` opens the destination that the source of the scheme
names, asks it which of the snapshot's files it wants, and feeds them to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from limpet.contracts.options import Options
from limpet.contracts.process import InputProcess
from limpet.errors import DestinationError, UsageError
from limpet.progress import Reporter

ZEROS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file, in order; without data so many zeros."""

    size_bytes: int
    data: bytes | memoryview | None
    """Valid until the next piece is asked for."""

    def blocks(self) -> Iterator[bytes | memoryview]:
        """The bytes, for a destination that has no use for knowing of zeros; a mebibyte of them at a time."""
        if self.data is not None:
            yield self.data
            return
        zeros = bytes(min(self.size_bytes, ZEROS_BYTES))
        for start in range(0, self.size_bytes, ZEROS_BYTES):
            yield memoryview(zeros)[: self.size_bytes - start]


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """What a snapshot knows of a name besides its content. Enough for a tar header."""

    mode: int
    """As `st_mode`, the kind included: `stat.S_ISDIR` and the like tell it."""
    uid: int
    gid: int
    mtime_ns: int
    link_target: bytes | None = None
    """Of a symlink."""
    hard_link_id: tuple[int, int] | None = None
    """Device and inode of a file with more than one name: the same for all its names."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the snapshot that a destination wants: a regular one, unless the destination `takes_trees`."""

    path: str
    """In the snapshot, absolute; bytes that are no UTF-8 as `os.fsdecode` gives them."""
    size_bytes: int
    pieces: Callable[[], Iterator[Piece]]
    """The content, verified; may be asked for more than once. Errors of the repository come out of it."""
    status: StoredStatus | None = None
    """Given to a destination that `takes_trees`."""


@dataclass(frozen=True, slots=True)
class DestinationRequest:
    """All that a destination is opened with. Its options are those of the source."""

    place: str
    """What follows the scheme: `//localhost/shop_copy`."""
    options: Options = field(default_factory=dict)
    reporter: Reporter | None = None
    own_places: Sequence[str] = ()
    """Paths that the run itself uses: a local repository, the cache. What is in them is not to be written over."""


class Destination(ABC):
    """Takes files of a snapshot. Order of calls: `open`, `wanted`, `receive` for each wanted file, `finish`, `close`.

    DestinationError where it does not take what it is given; then it is closed without `finish`.
    """

    takes_trees: ClassVar[bool] = False
    """Whether it is asked about and fed all names, each folder before what is in it: folders, symlinks and the like
    as files without content, every file with its `status`. Else regular files alone."""

    @classmethod
    @abstractmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError if the request makes no sense. Nothing is changed yet."""

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """Which of the files that the source has in the snapshot are received, in what order; the only one here.

        UsageError where that is not to be told, naming the way out.
        """
        if len(paths) != 1:
            raise UsageError(
                "the snapshot holds more than one file to choose from, name one as SNAPSHOT:/PATH: " + ", ".join(paths)
            )
        return paths

    @abstractmethod
    def receive(self, file: StoredFile) -> None:
        """Take one file, all of it."""

    def finish(self) -> None:  # noqa: B027  # most have nothing to add
        """Everything was received."""

    @abstractmethod
    def close(self) -> None:
        """Release everything, also after a failure: stop commands, remove temporary things. Idempotent."""


def feed(
    file: StoredFile, argv: Sequence[str], request: DestinationRequest, environment: Mapping[str, str] | None = None
) -> None:
    """Run the command with the file's content as its standard input; DestinationError if it does not end well."""
    try:
        process = InputProcess(argv, None if request.reporter is None else request.reporter.warning, environment)
    except (OSError, ValueError) as error:
        raise DestinationError(f"failed to start command {argv[0]}: {error}") from error
    try:
        is_read = _feed_all(file, process)
        ending = process.wait()
    finally:
        process.end()
    if ending is None and not is_read:
        ending = "it ended before it had read all of it"
    if ending is not None:
        said = f": {process.last_words}" if process.last_words else ""
        raise DestinationError(f"{file.path}: command {argv[0]} failed: {ending}{said}")


def _feed_all(file: StoredFile, process: InputProcess) -> bool:
    """Whether all was taken; how the command ended says why not."""
    try:
        for piece in file.pieces():
            for data in piece.blocks():
                process.write(data)
    except BrokenPipeError:
        return False
    return True
